-- Answers with a text, an image and a resource.
local media = require "lib.media"

return Spell.create {
  name      = "test_multiple_content_types",
  input     = {},
  read_only = true,

  run = function()
    return Content.list {
      "Multiple content types test:",
      Content.image(media.png, "image/png"),
      Content.resource {
        uri        = "test://mixed-content-resource",
        media_type = "application/json",
        text       = json.encode { test = "data", value = 123 },
      },
    }
  end,
}
