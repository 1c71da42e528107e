-- An image that is always the same.
local media = require "lib.media"

return Resource.create {
  name       = "static_binary",
  uri        = "test://static-binary",
  title      = "Static Binary Resource",
  media_type = "image/png",

  read = function()
    return Content.image(media.png, "image/png")
  end,
}
