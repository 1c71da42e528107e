-- must: limit.memory | limit.exceeded | limit.wall_clock
-- Ten thousand branches that wait at the same time.
return Spell.create { budget = { seconds = 1.5 }, run = function(input, ctx)
  local branches = {}
  for i = 1, 10000 do branches[i] = function() sleep(60) end end
  parallel(branches)
end }
