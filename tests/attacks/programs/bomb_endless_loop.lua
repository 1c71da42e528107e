-- must: limit.wall_clock
-- A loop that never gives way.
return Spell.create { run = function(input, ctx)
  while true do end
end }
