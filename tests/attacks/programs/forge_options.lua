-- must: completed "held"
-- Options that would change what a request is.
return Spell.create { run = function(input, ctx)
  State.set("k", 1)
  if pcall(State.set, "k", 2, { scope = "shared", key = "other", value = "x" }) then return "a script named its own scope" end
  if State.shared.get("other") ~= nil or State.shared.get("k") ~= nil then return "a script named its own scope" end
  if State.get("k") ~= 1 then return "it was written elsewhere" end
  local ok, problem = pcall(State.scan, "", { scope = "user", caller = "root", tenant = "other", limit = 5 })
  local agent = Agent.create {}
  for _, options in ipairs {
    { prompt = "x", agent = "vault" }, { prompt = "x", messages = "no list" }, { prompt = "x", messages = { 5, {}, { role = "root", content = {} } } },
    { prompt = "x", messages = { { role = "tool", tool_calls = { { id = {} } } } } }, { prompt = "x", stream = "yes" },
    { messages = { { role = "assistant", content = 5, tool_calls = 5 } } }, { prompt = { { type = "image" }, 5 } }, {},
  } do
    local fine, trouble = pcall(agent.run, agent, options)
    if not fine and (type(trouble) ~= "table" or trouble.code == "internal") then return json.encode(options) .. ": " .. tostring(trouble) end
  end
  return "held"
end }
