-- Tells all who listen that the list of prompts has changed.
return Spell.create {
  name   = "test_trigger_prompt_change",
  input  = {},
  expose = { a2a = false },

  run = function(_, ctx)
    ctx:client "notifications/prompts/list_changed"
    return "The list of prompts has changed"
  end,
}
