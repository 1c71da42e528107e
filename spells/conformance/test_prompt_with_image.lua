-- A prompt that an image is part of.
local media = require "lib.media"

return Prompt.create {
  name  = "test_prompt_with_image",
  title = "Prompt With Image",

  messages = function()
    return {
      { role = "user", content = Content.image(media.png, "image/png") },
      { role = "user", text = "Please analyze the image above." },
    }
  end,
}
