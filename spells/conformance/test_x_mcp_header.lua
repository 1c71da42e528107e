-- Takes an argument that clients also send as the header Mcp-Param-Region.
return Spell.create {
  name      = "test_x_mcp_header",
  input     = {
    region = { type = "string", description = "Where to look", ["x-mcp-header"] = "Region" },
  },
  read_only = true,

  run = function(input)
    return "Region: " .. input.region
  end,
}
