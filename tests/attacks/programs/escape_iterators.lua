-- must: completed "held"
-- Iteration over what changes, lies or is something else.
return Spell.create { run = function(input, ctx)
  local t = {}
  for i = 1, 50 do t["k" .. i] = i end
  local seen = 0
  for key in pairs(t) do t[key] = nil t["new" .. key] = 1 seen = seen + 1 if seen > 1000 then return "it never ended" end end
  pcall(next, t, "not a key")
  pcall(next, {}, {})
  pcall(next, json.null)
  pcall(next, ctx, "nothing")
  for _, lie in ipairs { 5, "x", print, json.null } do
    pcall(function() for _ in pairs(setmetatable({}, { __pairs = function() return lie, lie, lie end })) do break end end)
  end
  local mixed = { 1, 2, [3.5] = 1, [true] = 1, [false] = 1, [print] = 1, [{}] = 1, x = 1 }
  local count = 0
  for _ in pairs(mixed) do count = count + 1 end
  return count == 8 and "held" or "pairs saw " .. count
end }
