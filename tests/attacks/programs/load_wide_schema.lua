-- must: completed | limit.wall_clock | unpublished limit.wall_clock | limit.memory | output.too_large | spec.invalid
-- A schema of ten thousand fields.
local fields = {}
for i = 1, 10000 do fields["field" .. i] = Schema.string { optional = true } end
return Spell.create { input = fields, run = function() return "answered" end }
