-- must: spell.raised | limit.memory
-- A text of itself.
return Spell.create { run = function(input, ctx)
  local t = {}
  setmetatable(t, { __tostring = function(self) return "(" .. tostring(self) .. ")" end })
  return tostring(t)
end }
