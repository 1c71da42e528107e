-- must: unpublished spec.invalid
-- A schema that would have the server read a file.
return Spell.create { input = { type = "object", ["$ref"] = "file:///etc/passwd" }, run = function() end }
