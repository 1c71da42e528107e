-- must: completed "held"
-- Calls the kernel's functions with what they do not expect, in place of each other.
return Spell.create { run = function(input, ctx)
  local function trap() error("trap") end
  local everything = { 0, 0 / 0, "", "x", {}, print, coroutine.create(print), json.null, ctx, setmetatable({}, { __index = trap, __call = trap }) }
  local libraries = { State, State.user, Log, Spell, Agent, Tool, Workflow, Schema, Content, json, ctx, coroutine, utf8, table, string, os, math }
  local avoid = { sleep = true, ask = true }
  local calls = 0
  for _, library in ipairs(libraries) do
    for name, fn in next, library do
      if type(fn) == "function" and not avoid[name] then
        for _, a in ipairs(everything) do
          local ok, problem = pcall(fn, a, a, a)
          calls = calls + 1
          if not ok and type(problem) == "table" and problem.code == "internal" then return name .. ": " .. problem.message end
          if not ok and type(problem) == "string" and problem:find("llmspell:", 1, true) then return name .. ": " .. problem end
        end
      end
    end
  end
  return calls > 500 and "held" or "only " .. calls .. " calls"
end }
