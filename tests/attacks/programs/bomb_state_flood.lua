-- must: limit.wall_clock | limit.exceeded
-- Reads and writes without end, each giving way.
return Spell.create { budget = { seconds = 0.5 }, run = function(input, ctx)
  while true do State.increment("n") State.get("n") end
end }
