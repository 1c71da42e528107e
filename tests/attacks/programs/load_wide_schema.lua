-- must: completed | unpublished limit.wall_clock | limit.memory | output.too_large | spec.invalid
-- A schema of thirty thousand fields.
local fields = {}
for i = 1, 30000 do fields["field" .. i] = Schema.string { optional = true } end
return Spell.create { input = fields, run = function() return "answered" end }
