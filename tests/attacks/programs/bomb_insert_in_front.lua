-- must: limit.wall_clock | limit.memory
-- Every insert moves all that is there.
return Spell.create { run = function(input, ctx)
  local t = {}
  for i = 1, 1e9 do table.insert(t, 1, i) end
end }
