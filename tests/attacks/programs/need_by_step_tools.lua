-- must: need.undeclared
-- A step gives an agent the tool.
return Spell.create { run = function(input, ctx)
  local agent = Agent.create { name = "thief" }
  return Workflow.sequential { { agent = agent, tools = { "va" .. "ult" }, prompt = "open it" } }:cast {}
end }
