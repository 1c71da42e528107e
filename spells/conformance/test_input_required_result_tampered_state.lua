-- Asks; a client that sends the state of its request back changed is refused.
return Spell.create {
  name  = "test_input_required_result_tampered_state",
  input = {},

  run = function(_, ctx)
    ctx:ask { name = "confirm", message = "Please confirm", schema = { ok = Schema.boolean "" } }
    return "integrity-ok: state verified"
  end,
}
