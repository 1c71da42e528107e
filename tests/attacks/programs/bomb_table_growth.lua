-- must: limit.memory
-- A list without end.
return Spell.create { run = function(input, ctx)
  local t = {}
  for i = 1, math.huge do t[i] = { i } end
end }
