-- Asks, and knows when the answer comes what it was about.
return Spell.create {
  name  = "test_input_required_result_request_state",
  input = {},

  run = function(_, ctx)
    local nonce = uuid()
    local answer = ctx:ask {
      name    = "confirm",
      message = "Please confirm",
      schema  = { ok = Schema.boolean "" },
    }
    return (answer.ok and "state-ok: still at " or "refused at ") .. nonce
  end,
}
