-- must: completed "held"
-- A schema that refers to itself and to nothing else.
return Spell.create { input = { type = "object", allOf = { { ["$ref"] = "#" } } }, run = function() return "held" end }
