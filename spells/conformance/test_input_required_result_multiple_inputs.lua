-- Asks the person, the client's model and the client, all at once.
return Spell.create {
  name   = "test_input_required_result_multiple_inputs",
  input  = {},
  expose = { a2a = false },

  run = function(_, ctx)
    local request = { type = "text", text = "Generate a greeting" }
    local answers = parallel {
      function()
        return ctx:ask {
          name    = "user_name",
          message = "What is your name?",
          schema  = { name = Schema.string "" },
        }
      end,
      function()
        return ctx:client("sampling/createMessage", {
          messages  = { { role = "user", content = request } },
          maxTokens = 50,
        })
      end,
      function()
        return ctx:client "roots/list"
      end,
    }
    local person, greeting, client = answers[1], answers[2], answers[3]
    return ("Name: %s; Greeting: %s; Roots: %d"):format(
      person.name, greeting.content.text, #client.roots)
  end,
}
