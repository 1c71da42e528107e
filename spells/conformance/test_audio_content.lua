-- Answers with a sound.
local media = require "lib.media"

return Spell.create {
  name      = "test_audio_content",
  input     = {},
  read_only = true,

  run = function()
    return Content.audio(media.wav, "audio/wav")
  end,
}
