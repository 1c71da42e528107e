-- must: limit.memory
-- Coroutines by the million, none finished.
return Spell.create { run = function(input, ctx)
  local kept = {}
  for i = 1, 1e8 do
    kept[i] = coroutine.create(function() coroutine.yield() end)
    coroutine.resume(kept[i])
  end
end }
