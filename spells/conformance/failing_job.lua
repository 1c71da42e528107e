-- Fails after a second: always a task, one that completes with an error of the tool.
return Spell.create {
  name      = "failing_job",
  input     = {},
  read_only = true,
  task      = "required",

  run = function()
    sleep(1)
    error "The job failed, as it always does"
  end,
}
