-- Lets the client's own model answer a prompt.
return Spell.create {
  name   = "test_sampling",
  input  = { prompt = Schema.string "The prompt to send to the model" },
  expose = { a2a = false },

  run = function(input, ctx)
    local answer = ctx:client("sampling/createMessage", {
      messages  = { { role = "user", content = { type = "text", text = input.prompt } } },
      maxTokens = 100,
    })
    return "LLM response: " .. answer.content.text
  end,
}
