-- must: unpublished spec.invalid
-- A schema that would have the server fetch a page.
return Spell.create { input = { type = "object", ["$ref"] = "http://127.0.0.1:1/schema.json" }, run = function() end }
