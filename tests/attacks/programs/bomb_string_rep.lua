-- must: spell.raised | limit.memory
-- One text larger than the machine.
return Spell.create { run = function(input, ctx)
  return #("x"):rep(1 << 40)
end }
