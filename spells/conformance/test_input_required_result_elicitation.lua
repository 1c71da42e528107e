-- Asks for a name, and greets.
return Spell.create {
  name  = "test_input_required_result_elicitation",
  input = {},

  run = function(_, ctx)
    local answer = ctx:ask {
      name    = "user_name",
      message = "What is your name?",
      schema  = { name = Schema.string "" },
    }
    return "Hello, " .. answer.name .. "!"
  end,
}
