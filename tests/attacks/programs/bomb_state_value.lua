-- must: state.too_large
-- A value larger than the store takes.
return Spell.create { run = function(input, ctx)
  State.set("k", ("x"):rep(1 << 20))
end }
