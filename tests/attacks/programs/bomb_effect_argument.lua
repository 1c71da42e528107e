-- must: input.too_large | state.too_large | limit.memory
-- A value larger than a message may be.
return Spell.create { run = function(input, ctx)
  State.set("k", ("x"):rep(12 << 20))
end }
