-- Greets at once: never a task.
return Spell.create {
  name      = "greet",
  input     = { name = Schema.string "Whom to greet" },
  read_only = true,
  task      = "never",

  run = function(input)
    return "Hello, " .. input.name .. "!"
  end,
}
