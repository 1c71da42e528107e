-- must: unpublished spec.invalid
-- A schema deeper than any value may be.
local schema = Schema.string()
for _ = 1, 200 do schema = Schema.list(schema) end
return Spell.create { input = { deep = schema }, run = function() end }
