-- Takes as long as it is told: a task for clients that know tasks, unless it is over at once.
return Spell.create {
  name      = "slow_compute",
  input     = {
    seconds = Schema.number("How long it takes", { min = 0, max = 600 }),
    label   = Schema.string("What to call it", { optional = true }),
  },
  read_only = true,
  task      = "optional",

  run = function(input)
    sleep(input.seconds)
    return ("Computed %s in %g seconds"):format(input.label or "nothing", input.seconds)
  end,
}
