-- must: spell.raised | limit.memory
-- A coroutine in a coroutine in a coroutine.
return Spell.create { run = function(input, ctx)
  local function nest(n) return coroutine.wrap(function() return nest(n + 1) end)() end
  return nest(1)
end }
