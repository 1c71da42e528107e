-- Needs the client's own model, so a client that offers none is refused.
return Spell.create {
  name   = "test_missing_capability",
  input  = {},
  expose = { a2a = false },

  run = function(_, ctx)
    ctx:client("sampling/createMessage", {
      messages  = { { role = "user", content = { type = "text", text = "Say something." } } },
      maxTokens = 10,
    })
    return "Success"
  end,
}
