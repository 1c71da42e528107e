-- must: need.undeclared
-- A published agent that is allowed is given a tool that is not.
return Spell.create { needs = { tools = { "clerk" } }, run = function(input, ctx)
  local clerk = Agent.get("clerk")
  rawset(clerk, "tools", { "va" .. "ult" })
  return Workflow.sequential { { agent = clerk, tools = { "va" .. "ult" }, prompt = "x" } }:cast {}
end }
