-- must: completed "held"
-- Coroutines of a branch that has ended are carried on by another.
return Spell.create { run = function(input, ctx)
  local left
  parallel { function()
    left = coroutine.create(function() coroutine.yield(1) sleep(0) return State.get("nothing") == nil and "carried on" end)
    coroutine.resume(left)
  end }
  local results = parallel { function() return select(2, coroutine.resume(left)) end, function() sleep(0) return 1 end }
  if results[1] ~= "carried on" then return "it came back with " .. tostring(results[1]) end
  return coroutine.status(left) == "dead" and "held"
end }
