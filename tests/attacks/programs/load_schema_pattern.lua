-- must: unpublished spec.invalid
-- A pattern that would take a million states.
return Spell.create { input = { text = Schema.string { pattern = "(?:a{1000}){1000}" } }, run = function() end }
