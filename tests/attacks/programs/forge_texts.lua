-- must: completed "held"
-- Bytes that are no text, in every place that takes a text.
return Spell.create { needs = { tools = { "honest" } }, run = function(input, ctx)
  local bad = "a\255\192\128\xED\xA0\x80b"
  local agent = Agent.create { name = "a" }
  local calls = {
    function() State.set(bad, 1) end, function() State.set("k", bad) end, function() State.get(bad) end, function() State.delete(bad) end,
    function() State.scan(bad) end, function() State.scan("", { after = bad }) end, function() State.increment(bad) end,
    function() State.set("k", 1, { if_version = bad }) end, function() State.update(bad, function() return 1 end) end,
    function() Log.info(bad) end, function() Log.info("x", { [bad] = 1 }) end, function() Log.info("x", { x = bad }) end,
    function() ctx:log(bad, "x") end, function() ctx:emit(bad) end, function() ctx:emit { text = "x", name = bad } end,
    function() ctx:progress(1, 2, bad) end, function() template(bad, {}) end, function() template("{{" .. bad .. "}}", { [bad] = 1 }) end,
    function() Spell.get(bad):cast {} end, function() Spell.get("honest"):cast { [bad] = bad } end,
    function() agent:ask(bad) end, function() agent:run { prompt = bad, messages = { { role = bad } } } end,
    function() Agent.create { system = bad }:ask "x" end, function() Agent.create { name = bad }:ask "x" end,
    function() Spell.create { name = bad, run = print }:cast {} end, function() sleep(bad) end,
  }
  for i, call in ipairs(calls) do
    local ok, problem = pcall(call)
    if ok then return "call " .. i .. " was taken" end
    if type(problem) ~= "table" or problem.code == "internal" then return "call " .. i .. ": " .. tostring(problem) end
  end
  return "held"
end }
