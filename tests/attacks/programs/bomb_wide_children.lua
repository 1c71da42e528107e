-- must: completed | limit.busy | limit.exceeded
-- More child casts at a time than there may be workers.
return Spell.create { needs = { tools = { "honest" } }, run = function(input, ctx)
  local branches = {}
  for i = 1, 40 do
    branches[i] = function() return (Spell.get("honest"):cast { value = i }).value end
  end
  return #parallel(branches)
end }
