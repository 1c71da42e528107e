-- Counts the directories that the client offers.
return Spell.create {
  name   = "test_input_required_result_list_roots",
  input  = {},
  expose = { a2a = false },

  run = function(_, ctx)
    local answer = ctx:client "roots/list"
    return "Found " .. #answer.roots .. " root(s)"
  end,
}
