-- Asks the person and the client's model at once; each client is asked for what it can do.
return Spell.create {
  name   = "test_input_required_result_capabilities",
  input  = {},
  expose = { a2a = false },

  run = function(_, ctx)
    local request = { type = "text", text = "Sample request" }
    parallel {
      function()
        return ctx:ask {
          name    = "elicit_input",
          message = "Elicitation input",
          schema  = { value = Schema.string "" },
        }
      end,
      function()
        return ctx:client("sampling/createMessage", {
          messages  = { { role = "user", content = request } },
          maxTokens = 50,
        })
      end,
    }
    return "capabilities-ok"
  end,
}
