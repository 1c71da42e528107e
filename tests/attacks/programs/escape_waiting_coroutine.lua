-- must: completed "held"
-- A coroutine that waits for an effect is resumed and closed by another branch.
return Spell.create { run = function(input, ctx)
  local inner = coroutine.create(function() sleep(0.02) return "done" end)
  local results = parallel {
    function() return select(2, coroutine.resume(inner)) end,
    function()
      local got = {}
      got[1] = pcall(coroutine.resume, inner, true, { "forged" })
      got[2] = pcall(coroutine.close, inner)
      return got[1] or got[2]
    end,
  }
  if results[2] ~= false then return "another branch got hold of it" end
  return results[1] == "done" and "held"
end }
