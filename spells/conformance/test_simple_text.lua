-- Answers with a text.
return Spell.create {
  name      = "test_simple_text",
  input     = {},
  read_only = true,

  run = function()
    return "This is a simple text response for testing."
  end,
}
