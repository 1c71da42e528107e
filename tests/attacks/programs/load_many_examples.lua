-- must: unpublished limit.memory | output.too_large | limit.wall_clock | spec.invalid
-- Declares a million examples.
local examples = {}
for i = 1, 1e6 do examples[i] = { input = { n = i } } end
return Spell.create { examples = examples, run = function() end }
