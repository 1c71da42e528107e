-- must: limit.wall_clock | limit.exceeded
-- Child casts without end, one after the other.
return Spell.create { budget = { seconds = 0.6 }, run = function(input, ctx)
  local child = Spell.create { run = function() return 1 end }
  while true do child:cast {} end
end }
