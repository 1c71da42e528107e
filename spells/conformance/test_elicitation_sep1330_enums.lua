-- Asks with a form that has each kind of choice: of one and of several, with titles and without.
local form = require "lib.form"

local options = { "option1", "option2", "option3" }
local titled = {
  { const = "value1", title = "First Option" },
  { const = "value2", title = "Second Option" },
  { const = "value3", title = "Third Option" },
}

return Spell.create {
  name  = "test_elicitation_sep1330_enums",
  input = {},

  run = function(_, ctx)
    return "Elicitation completed: " .. form(ctx, {
      message = "Please select options from the enum fields",
      schema  = {
        type       = "object",
        properties = {
          untitledSingle = { type = "string", description = "Select one option", enum = options },
          titledSingle   = { type = "string", description = "Select one with a title", oneOf = titled },
          legacyEnum     = {
            type        = "string",
            description = "Select one option, as older clients are told of titles",
            enum        = { "opt1", "opt2", "opt3" },
            enumNames   = { "Option One", "Option Two", "Option Three" },
          },
          untitledMulti  = {
            type        = "array",
            description = "Select several options",
            minItems    = 1,
            maxItems    = 3,
            items       = { type = "string", enum = options },
          },
          titledMulti    = {
            type        = "array",
            description = "Select several with titles",
            minItems    = 1,
            maxItems    = 3,
            items       = { anyOf = titled },
          },
        },
      },
    })
  end,
}
