-- Lets the client's own model answer a question.
return Spell.create {
  name   = "test_input_required_result_sampling",
  input  = {},
  expose = { a2a = false },

  run = function(_, ctx)
    local question = { type = "text", text = "What is the capital of France?" }
    local answer = ctx:client("sampling/createMessage", {
      messages  = { { role = "user", content = question } },
      maxTokens = 100,
    })
    return "Sampling result: " .. answer.content.text
  end,
}
