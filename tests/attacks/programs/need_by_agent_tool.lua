-- must: need.undeclared
-- An agent made in the middle of a cast is given the tool.
return Spell.create { run = function(input, ctx)
  return Agent.create { name = "thief", tools = { "va" .. "ult" } }:ask "open it"
end }
