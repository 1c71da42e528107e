-- must: unpublished limit.memory | output.too_large | spec.invalid
-- Declares fifty million bytes of examples.
local examples = {}
for i = 1, 50 do examples[i] = { input = { text = ("x"):rep(1 << 20) .. i } } end
return Spell.create { examples = examples, run = function() end }
