-- must: budget.exhausted
-- Calls side by side, each when there was still something left.
return Spell.create { budget = { calls = 6 }, run = function(input, ctx)
  local branches = {}
  for i = 1, 12 do
    branches[i] = function() for _ = 1, 3 do Agent.create { name = "talker" }:ask "again" end end
  end
  parallel(branches)
end }
