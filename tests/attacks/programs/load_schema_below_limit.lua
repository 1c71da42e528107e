-- must: completed
-- A schema as deep as it may be, and what is nearly that deep.
local schema = Schema.any()
for _ = 1, 30 do schema = Schema.object { inner = schema, other = Schema.any { optional = true } } end
return Spell.create { output = { deep = Schema.any() }, input = { deep = Schema.any { optional = true } }, run = function()
  local value = {}
  for _ = 1, 90 do value = { value } end
  return { deep = value, schema = nil }
end }
