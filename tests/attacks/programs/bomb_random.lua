-- must: limit.wall_clock
-- Numbers drawn for ever.
return Spell.create { run = function(input, ctx)
  while true do random(1, 10) uuid() end
end }
