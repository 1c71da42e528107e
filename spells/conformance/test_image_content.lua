-- Answers with an image.
local media = require "lib.media"

return Spell.create {
  name      = "test_image_content",
  input     = {},
  read_only = true,

  run = function()
    return Content.image(media.png, "image/png")
  end,
}
