-- Say hello to somebody.
return Spell.create {
  name        = "hello",
  description = "Say hello to somebody.",
  input       = { name = Schema.string("Whom to greet", { default = "world" }) },
  read_only   = true,
  open_world  = false,

  run = function(input)
    return "Hello, " .. input.name .. "!"
  end,
}
