-- must: unpublished spec.invalid
-- A schema that holds a function.
return Spell.create { input = { text = Schema.string { default = print } }, run = function() end }
