-- must: limit.wall_clock | limit.exceeded
-- It never computes for long, and never ends.
return Spell.create { budget = { seconds = 0.4 }, run = function(input, ctx)
  while true do sleep(0.01) end
end }
