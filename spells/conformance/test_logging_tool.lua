-- Writes to its log, which only clients that asked for it are sent.
return Spell.create {
  name      = "test_logging_tool",
  input     = {},
  read_only = true,

  run = function(_, ctx)
    ctx:log("info", "Diagnostic log line")
    return "Logged"
  end,
}
