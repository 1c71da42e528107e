-- must: unpublished spec.invalid
-- Sixteen definitions, each of which asks the next twice: two to the power of sixteen checks.
local defs = {}
for i = 0, 29 do
  local next_one = { ["$ref"] = "#/$defs/a" .. (i + 1) }
  defs["a" .. i] = { anyOf = { next_one, next_one } }
end
defs.a30 = { type = "string" }
return Spell.create { input = { type = "object", ["$defs"] = defs, allOf = { { ["$ref"] = "#/$defs/a0" } } }, run = function() end }
