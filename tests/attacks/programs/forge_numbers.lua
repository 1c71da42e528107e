-- must: completed "held"
-- Numbers that are none, in every place that takes a number.
return Spell.create { run = function(input, ctx)
  local wild = { 0 / 0, 1 / 0, -1 / 0, 1e308, -1, -0.5, math.mininteger, math.maxinteger, 2 ^ 63, "5", {}, true }
  for i, n in ipairs(wild) do
    local calls = {
      function() sleep(n == 1e308 and n or n == math.maxinteger and n or -1) end, function() State.scan("", { limit = n }) end,
      function() State.increment("sum", n) end, function() ctx:progress(n, n) end, function() State.scan("", { limit = 1, reverse = n }) end,
      function() State.set("n", n) return State.get("n") end, function() return json.decode(json.encode(n)) end,
      function() Agent.create { limits = { turns = n } }:ask "x" end, function() Spell.create { budget = { depth = n }, run = print }:cast {} end,
    }
    for j, call in ipairs(calls) do
      local ok, problem = pcall(call)
      if not ok and type(problem) == "table" and (problem.code == "internal" or problem.code == nil) then
        return i .. "/" .. j .. ": " .. tostring(problem)
      end
    end
  end
  return "held"
end }
