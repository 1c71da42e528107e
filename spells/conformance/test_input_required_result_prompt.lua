-- A prompt that asks before it can be filled in.
return Prompt.create {
  name = "test_input_required_result_prompt",

  messages = function(_, ctx)
    local answer = ctx:ask {
      name    = "user_context",
      message = "What context should the prompt use?",
      schema  = { context = Schema.string "" },
    }
    return "Prompt with context: " .. answer.context
  end,
}
