-- Asks the person at the client for a name and an address.
local form = require "lib.form"

return Spell.create {
  name  = "test_elicitation",
  input = { message = Schema.string "The message to show the user" },

  run = function(input, ctx)
    return "User response: " .. form(ctx, {
      message = input.message,
      schema  = {
        username = Schema.string "User's response",
        email    = Schema.string "User's email address",
      },
    })
  end,
}
