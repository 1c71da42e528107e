-- must: limit.wall_clock
-- Waits of a day, each too short to be parked.
return Spell.create { budget = { seconds = 0.3 }, run = function(input, ctx)
  for _ = 1, 21600 do sleep "4s" end
end }
