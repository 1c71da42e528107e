-- Writes three lines to its log, which clients that want them are sent.
return Spell.create {
  name      = "test_tool_with_logging",
  input     = {},
  read_only = true,

  run = function(_, ctx)
    ctx:log("info", "Tool execution started")
    sleep "50ms"
    ctx:log("info", "Tool processing data")
    sleep "50ms"
    ctx:log("info", "Tool execution completed")
    return "Tool with logging executed successfully"
  end,
}
