-- must: need.undeclared | spell.not_found
-- The name in another case, with spaces, with a nothing inside.
return Spell.create { run = function(input, ctx)
  for _, name in ipairs { "Vault", "VAULT", " vault", "vault ", "vault\0", "./vault", "spells/vault", "vault.lua" } do
    if pcall(function() return Spell.get(name):cast {} end) then return name .. " was cast" end
  end
  return Spell.get("VAULT"):cast {}
end }
