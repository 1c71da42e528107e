-- Takes a moment, so that a client may lose its stream meanwhile and come back for the answer.
return Spell.create {
  name      = "test_reconnection",
  input     = {},
  read_only = true,

  run = function()
    sleep "100ms"
    return "Reconnection test completed successfully."
  end,
}
