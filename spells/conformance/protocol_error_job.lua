-- Ends with an error of the protocol: always a task, one that fails.
return Spell.create {
  name      = "protocol_error_job",
  input     = {},
  read_only = true,
  task      = "required",

  run = function(_, ctx)
    ctx:protocol_error(-32603, "The job broke the protocol, as it always does")
  end,
}
