-- must: completed "held"
-- Dead, running and foreign coroutines are resumed, wrapped and closed.
return Spell.create { run = function(input, ctx)
  local dead = coroutine.create(function() end)
  coroutine.resume(dead)
  coroutine.close(dead)
  pcall(coroutine.resume, dead)
  pcall(coroutine.close, coroutine.running())
  local wrapped
  wrapped = coroutine.wrap(function() return pcall(wrapped) end)
  wrapped()
  local closing = coroutine.create(function()
    local guard <close> = setmetatable({}, { __close = function() error("from the close") end })
    coroutine.yield()
  end)
  coroutine.resume(closing)
  local ok, problem = coroutine.close(closing)
  if ok then return "the error of a close was lost" end
  local self_closing
  self_closing = coroutine.create(function()
    local guard <close> = setmetatable({}, { __close = function() coroutine.close(self_closing) end })
    error("die")
  end)
  coroutine.resume(self_closing)
  for _, value in ipairs { 5, "x", {}, print, json.null } do
    if pcall(coroutine.resume, value) or pcall(coroutine.status, value) or pcall(coroutine.wrap, value) and type(value) ~= "function" then
      return "a " .. type(value) .. " was taken for a coroutine"
    end
  end
  return "held"
end }
