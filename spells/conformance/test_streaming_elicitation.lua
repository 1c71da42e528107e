-- Says how far it is, then asks.
return Spell.create {
  name  = "test_streaming_elicitation",
  input = {},

  run = function(_, ctx)
    ctx:progress(1, 2, "about to ask")
    local answer = ctx:ask { message = "Go on?", schema = { ok = Schema.boolean "Whether to go on" } }
    return answer.ok and "Going on" or "Stopped"
  end,
}
