-- must: need.undeclared
-- A name that is allowed is changed into one that is not.
return Spell.create { needs = { tools = { "honest" } }, run = function(input, ctx)
  local found = Spell.get("honest")
  found.name = "vault"
  return found:cast {}
end }
