-- must: completed "held"
-- The metatable all texts share can be neither read nor replaced.
return Spell.create { run = function(input, ctx)
  local metatable = getmetatable("")
  if type(metatable) == "table" then return "it is shown" end
  if pcall(setmetatable, "", {}) then return "it was replaced" end
  if pcall(function() ("").x = 1 end) then return "a text took a field" end
  if ("").dump ~= nil or ("x").rep ~= string.rep then return "texts know more than string shows" end
  return "held"
end }
