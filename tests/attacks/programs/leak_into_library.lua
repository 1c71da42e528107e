-- must: completed "held"
-- casts: 6
-- Leaves something in every table there is, and looks for it in the next cast.
local upvalue, plain = {}, string.format
return Spell.create { run = function(input, ctx)
  local mark = "left by a cast before"
  local places = { _G, string, table, math, utf8, coroutine, os, json, State, State.shared, Log, Spell, Agent, Tool, Workflow, Schema, Content, upvalue }
  for i, place in ipairs(places) do if rawget(place, "leak") ~= nil then return "place " .. i .. " kept it" end end
  if ("x").leak ~= nil or ctx.leak ~= nil or json.null.leak ~= nil then return "it was kept" end
  if string.format ~= plain then return "a function of the library stayed replaced" end
  for _, place in ipairs(places) do rawset(place, "leak", mark) end
  ctx.leak = mark
  string.format = function() return mark end
  return "held"
end }
