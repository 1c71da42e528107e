-- Asks before it deletes: always a task, one that waits for input.
return Spell.create {
  name  = "confirm_delete",
  input = { filename = Schema.string "What to delete" },
  task  = "required",

  run = function(input, ctx)
    local answer = ctx:ask {
      name    = "confirm",
      message = "Delete " .. input.filename .. "?",
      schema  = { confirm = Schema.boolean "Whether to delete it" },
    }
    return (answer.confirm and "Deleted " or "Kept ") .. input.filename
  end,
}
