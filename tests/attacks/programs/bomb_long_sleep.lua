-- must: limit.wall_clock
-- One wait of a day.
return Spell.create { budget = { seconds = 0.3 }, run = function(input, ctx)
  sleep("24h")
end }
