-- must: need.undeclared
-- Changes its own declaration while it runs.
local tools = { "honest" }
local own
own = Spell.create { needs = { tools = tools }, run = function()
  tools[1], own.needs.tools[1] = "vault", "vault"
  return Spell.get("va" .. "ult"):cast {}
end }
return own
