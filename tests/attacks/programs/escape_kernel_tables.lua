-- must: completed "held"
-- What the kernel made keeps its metatable.
return Spell.create { run = function(input, ctx)
  local made = {
    ctx, json.null, Spell.create { run = print }, Agent.create {}, Tool.get "x", Workflow.sequential { "x" },
    Schema.string(), Content.text "x", json.decode "[]", json.decode "{}",
  }
  for i, value in ipairs(made) do
    if type(getmetatable(value)) == "table" then return "the metatable of " .. i .. " is shown" end
    if pcall(setmetatable, value, { __index = _G }) then return "the metatable of " .. i .. " was replaced" end
  end
  if pcall(function() json.null.x = 1 end) or json.null.x ~= nil then return "null took a field" end
  return "held"
end }
