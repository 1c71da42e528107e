-- Ask somebody whether a thing is done, and ask again tomorrow when it is not.
return Spell.create {
  name        = "follow_up",
  description = "Ask whether something is done; while it is not, wait and ask again, for days if need be.",
  input       = {
    what  = Schema.string "What should be done",
    every = Schema.string("How long to wait before asking again: 10m, 2h, 1d", { default = "1d" }),
  },
  output      = { asked = Schema.integer "How often it was asked" },
  open_world  = false,

  run = function(input, ctx)
    for asked = 1, 100 do
      -- Neither a question nor a long sleep holds a process; both outlive a restart.
      local answer = ctx:ask {
        message = "Is it done: " .. input.what .. "?",
        schema  = { done = Schema.boolean "Whether it is done" },
      }
      if answer.done then return { asked = asked } end
      ctx:progress(asked, nil, "asking again in " .. input.every)
      sleep(input.every)
    end
    error { code = "follow_up.given_up", message = "asked 100 times, and it is still not done" }
  end,
}
