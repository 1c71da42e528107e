-- A prompt that a resource is part of.
return Prompt.create {
  name      = "test_prompt_with_embedded_resource",
  title     = "Prompt With Embedded Resource",
  arguments = { resourceUri = Schema.string "URI of the resource to embed" },

  messages = function(input)
    return {
      {
        role    = "user",
        content = Content.resource {
          uri        = input.resourceUri,
          media_type = "text/plain",
          text       = "Embedded resource content for testing.",
        },
      },
      { role = "user", text = "Please process the embedded resource above." },
    }
  end,
}
