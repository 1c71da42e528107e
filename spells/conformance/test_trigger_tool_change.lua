-- Tells all who listen that the list of tools has changed.
return Spell.create {
  name   = "test_trigger_tool_change",
  input  = {},
  expose = { a2a = false },

  run = function(_, ctx)
    ctx:client "notifications/tools/list_changed"
    return "The list of tools has changed"
  end,
}
