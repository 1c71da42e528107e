-- must: completed "held"
-- A comparator that contradicts itself must not read beyond the list.
return Spell.create { run = function(input, ctx)
  local t = {}
  for i = 1, 20000 do t[i] = i % 7 end
  pcall(table.sort, t, function() return true end)
  pcall(table.sort, t, function(a, b) return a ~= b end)
  pcall(table.sort, t, function() error("no order") end)
  for i = 1, 20000 do if math.type(t[i]) ~= "integer" then return "item " .. i .. " is " .. tostring(t[i]) end end
  return "held"
end }
