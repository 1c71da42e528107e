-- Answers with a resource that is part of the answer.
return Spell.create {
  name      = "test_embedded_resource",
  input     = {},
  read_only = true,

  run = function()
    return Content.resource {
      uri        = "test://embedded-resource",
      media_type = "text/plain",
      text       = "This is an embedded resource content.",
    }
  end,
}
