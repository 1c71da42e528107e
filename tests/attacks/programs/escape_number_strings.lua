-- must: completed "held"
-- Numbers and texts take each other's place as keys and lengths.
return Spell.create { run = function(input, ctx)
  local t = { [1] = "a", ["1"] = "b", [1.0] = "c" }
  if t[1] ~= "c" then return "1 and 1.0 are two keys" end
  local ok = pcall(json.encode, t)
  if ok then return "a table of both was written" end
  for _, length in ipairs { "3", 3.0, 3.5, -1, "x" } do pcall(parallel, setmetatable({}, { __len = function() return length end })) end
  for i = 1, 3 do pcall(rawset, t, 0 / 0, i) end
  State.set("float", 3.0)
  return math.type((State.get("float"))) == "float" and "held" or "a float came back as an integer"
end }
