-- must: completed "held"
-- Closes a coroutine whose variable to be closed waits for an effect.
return Spell.create { run = function(input, ctx)
  local co = coroutine.create(function()
    local guard <close> = setmetatable({}, { __close = function() State.set("late", 1) end })
    coroutine.yield(1)
  end)
  coroutine.resume(co)
  pcall(coroutine.close, co)
  pcall(coroutine.resume, co)
  sleep(0)
  return "held"
end }
