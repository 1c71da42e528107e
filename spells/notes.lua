-- Keep notes that every client and session of this server sees.

local function stored(prefix)
  local found, after = {}, nil
  repeat
    local page, next_key = State.shared:scan(prefix, { after = after, limit = 200 })
    for _, item in ipairs(page) do
      found[#found + 1] = item.value
    end
    after = next_key
  until not after
  return found
end

local actions = {}

function actions.add(input)
  if not input.text or input.text == "" then
    error { code = "notes.empty", message = "a note needs a text", hint = "pass text" }
  end
  local number = State.shared:increment "notes.count"
  local note = { id = number, text = input.text, author = input.author, at = now() }
  State.shared:set(string.format("notes.%012d", number), note)
  return { note }
end

function actions.list()
  return stored "notes.0"
end

function actions.search(input)
  local wanted, found = (input.text or ""):lower(), json.array {}
  for _, note in ipairs(stored "notes.0") do
    if note.text:lower():find(wanted, 1, true) then
      found[#found + 1] = note
    end
  end
  return found
end

return Spell.create {
  name        = "notes",
  description = "Add, list and search notes that all clients of this server share.",
  input       = {
    action = Schema.enum({ "add", "list", "search" }, "What to do"),
    text   = Schema.string("The note to add, or the words to search for", { optional = true }),
    author = Schema.string("Who writes the note", { optional = true }),
  },
  output      = {
    notes = Schema.list(Schema.object {
      id     = Schema.integer "Number of the note",
      text   = Schema.string "What it says",
      author = Schema.string("Who wrote it", { optional = true }),
      at     = Schema.number "Unix time it was written at",
    }, "The notes, oldest first"),
  },
  destructive = false,
  open_world  = false,

  run = function(input)
    return { notes = actions[input.action](input) }
  end,
}
