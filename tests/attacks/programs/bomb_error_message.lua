-- must: spell.raised | limit.memory
-- An error of twelve million bytes.
return Spell.create { run = function(input, ctx)
  error(("x"):rep(12 << 20))
end }
