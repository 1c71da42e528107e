-- must: budget.exhausted
-- Catches the end of the budget and goes on as before.
return Spell.create { budget = { calls = 3 }, run = function(input, ctx)
  local agent, answers = Agent.create { name = "talker" }, 0
  for _ = 1, 30 do if pcall(agent.ask, agent, "again") then answers = answers + 1 end end
  if answers > 3 then return answers .. " answers" end
  return agent:ask "one more"
end }
