-- Asks two things at once: always a task, one that goes on when both are answered.
local fields = { name = Schema.string "A name", confirm = Schema.boolean "Whether it is right" }

return Spell.create {
  name  = "multi_input",
  input = {},
  task  = "required",

  run = function(_, ctx)
    local answers = parallel {
      function() return ctx:ask { name = "first", message = "The first?", schema = fields } end,
      function() return ctx:ask { name = "second", message = "The second?", schema = fields } end,
    }
    return answers[1].name .. " and " .. answers[2].name
  end,
}
