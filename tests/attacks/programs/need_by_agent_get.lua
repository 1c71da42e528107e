-- must: need.undeclared
-- Asks a published agent that was never declared.
return Spell.create { run = function(input, ctx)
  return Agent.get("cle" .. "rk"):ask "hello"
end }
