-- must: completed | limit.wall_clock | budget.exhausted
-- An agent that answers for ever.
return Spell.create { budget = { seconds = 0.6 }, run = function(input, ctx)
  local agent, answers = Agent.create { name = "talker" }, 0
  while true do answers = answers + #agent:ask(("again "):rep(1000)) end
end }
