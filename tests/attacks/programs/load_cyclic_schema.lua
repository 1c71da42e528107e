-- must: unpublished spec.invalid
-- A schema that contains itself.
local fields = {}
fields.again = Schema.object { inner = Schema.any() }
fields.again["$schema"].properties.inner = fields.again
return Spell.create { input = fields, run = function() end }
