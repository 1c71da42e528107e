-- Asks with a form whose fields are filled in already.
local form = require "lib.form"

return Spell.create {
  name  = "test_elicitation_sep1034_defaults",
  input = {},

  run = function(_, ctx)
    return "Elicitation completed: " .. form(ctx, {
      message = "Please review and update the form fields with defaults",
      schema  = {
        name     = Schema.string("User name", { default = "John Doe" }),
        age      = Schema.integer("User age", { default = 30 }),
        score    = Schema.number("User score", { default = 95.5 }),
        status   = Schema.enum({ "active", "inactive", "pending" }, "User status", { default = "active" }),
        verified = Schema.boolean("Verification status", { default = true }),
      },
    })
  end,
}
