-- must: completed "held"
-- Walks all that can be reached and looks for what must not be.
return Spell.create { run = function(input, ctx)
  local seen, queue, found = {}, { _G, ctx, json, input, "", coroutine.running(), select(2, pcall(State.get, 5)) }, nil
  local last = #queue
  local function visit(value, how)
    local kind = type(value)
    if kind == "userdata" then found = found or "a userdata in " .. how end
    if kind == "thread" and value ~= coroutine.running() then found = found or "a thread in " .. how end
    if (kind == "table" or kind == "function" or kind == "thread") and not seen[value] then
      seen[value] = true
      last = last + 1
      queue[last] = value
    end
  end
  local i = 0
  while i < last do
    i = i + 1
    local value = queue[i]
    if value ~= nil then
      local metatable = getmetatable(value)
      if type(metatable) == "table" then visit(metatable, "a metatable") end
      if type(value) == "table" then
        for key, item in next, value do visit(key, "a key") visit(item, tostring(key)) end
      end
    end
  end
  if found then return found end
  for _, name in ipairs { "_LOADED", "_PRELOAD", "_CLIBS", "__traceback__", "__globals__", "__builtins__" } do
    if rawget(_G, name) ~= nil then return name .. " is there" end
  end
  return "held"
end }
