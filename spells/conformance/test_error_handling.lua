-- Fails always.
return Spell.create {
  name      = "test_error_handling",
  input     = {},
  read_only = true,

  run = function()
    error "This tool intentionally returns an error for testing"
  end,
}
