-- must: completed "held"
-- Declarations of the wrong shape, in every place that takes one.
return Spell.create { run = function(input, ctx)
  local function refused(make)
    local ok, problem = pcall(function() return make():cast {} end)
    if ok then return "it was cast" end
    if type(problem) ~= "table" then return tostring(problem) end
    if problem.code == "internal" then return problem.message end
  end
  local makers = {
    function() return Spell.create { run = 5 } end,
    function() return Spell.create { run = { "x" } } end,
    function() return Spell.create { name = {}, run = print } end,
    function() return Spell.create { name = "../x", run = print } end,
    function() return Spell.create { name = ("n"):rep(10000), run = print } end,
    function() return Spell.create { input = 5, run = print } end,
    function() return Spell.create { input = { x = { type = "nothing" } }, run = print } end,
    function() return Spell.create { input = { x = { ["$schema"] = { type = "string" }, ["$seq"] = {} }, y = { ["$schema"] = 5 } }, run = print } end,
    function() return Spell.create { needs = { tools = { {} } }, run = print } end,
    function() return Spell.create { needs = { tools = 5 }, run = print } end,
    function() return Spell.create { budget = { seconds = -1 }, run = print } end,
    function() return Spell.create { budget = { usd = "x" }, run = print } end,
    function() return Spell.create { workflow = { ["$kind"] = "workflow" } } end,
    function() return Spell.create { workflow = { ["$kind"] = "workflow", type = "sequential", steps = 5 } } end,
    function() return Spell.create { agent = { ["$kind"] = "agent", tools = { { ["$kind"] = "spell" } } } } end,
    function() return Spell.create { examples = { 5, { input = print } }, run = print } end,
    function() return Agent.create { tools = { 5 } } end,
    function() return Agent.create { tools = { { ["$kind"] = "ref", name = {} } } } end,
    function() return Agent.create { limits = { turns = 1e9 } } end,
    function() return Agent.create { temperature = 0 / 0 } end,
    function() return Agent.create { output = { type = "nothing" } } end,
    function() return Workflow.sequential { 5 } end,
    function() return Workflow.sequential { { agent = 5 } } end,
    function() return Workflow.sequential { { spell = "honest", tools = { "x" } } } end,
    function() return Workflow.parallel { limit = -1, "honest" } end,
    function() return Workflow.parallel { branches = { a = 5 } } end,
  }
  for i, make in ipairs(makers) do
    local problem = refused(make)
    if problem then return i .. ": " .. problem end
  end
  return "held"
end }
