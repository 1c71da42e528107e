-- must: unpublished spec.invalid | spec.missing
-- A declaration that contains itself.
local spell = Spell.create { run = function() end }
spell.examples = { spell }
spell.examples[2] = spell.examples
return spell
