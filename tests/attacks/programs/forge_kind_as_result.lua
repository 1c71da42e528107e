-- must: completed
-- A result that looks like a declaration stays data.
return Spell.create { run = function(input, ctx)
  return { ["$kind"] = "spell", name = "vault", run = 1, ["$schema"] = { ["$ref"] = "file:///etc/passwd" } }
end }
