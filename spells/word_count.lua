-- Count the words of a text.
return Spell.create {
  name        = "word_count",
  description = "Count the words, lines and characters of a text.",
  input       = { text = Schema.string "The text to count" },
  output      = {
    words      = Schema.integer "Number of words",
    lines      = Schema.integer "Number of lines",
    characters = Schema.integer "Number of characters",
  },
  read_only   = true,
  idempotent  = true,
  open_world  = false,

  run = function(input)
    local _, words = input.text:gsub("%S+", "")
    local _, breaks = input.text:gsub("\n", "")
    local ends_open = input.text ~= "" and input.text:sub(-1) ~= "\n"
    return {
      words      = words,
      lines      = breaks + (ends_open and 1 or 0),
      characters = utf8.len(input.text),
    }
  end,
}
