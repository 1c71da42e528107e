-- Asks for a name while it is called, then works on as a task.
return Spell.create {
  name  = "test_tool_with_task",
  input = {},
  task  = "optional",

  run = function(_, ctx)
    local answer = ctx:ask {
      name    = "user_name",
      message = "What is your name?",
      schema  = { name = Schema.string "" },
    }
    sleep(2)
    return "Worked for " .. answer.name
  end,
}
