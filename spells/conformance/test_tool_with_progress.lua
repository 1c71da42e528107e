-- Says three times how far it is.
return Spell.create {
  name      = "test_tool_with_progress",
  input     = {},
  read_only = true,

  run = function(_, ctx)
    for _, done in ipairs { 0, 50, 100 } do
      ctx:progress(done, 100, "Completed step " .. done .. " of 100")
      sleep "50ms"
    end
    return "Tool with progress executed successfully"
  end,
}
