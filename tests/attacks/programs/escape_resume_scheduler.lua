-- must: completed "held"
-- A branch takes hold of the thread it runs under.
return Spell.create { run = function(input, ctx)
  local main = coroutine.running()
  local results = parallel {
    function()
      for _, act in ipairs { coroutine.resume, coroutine.close, coroutine.wrap } do
        if pcall(act, main) then return "reached" end
      end
      local own = coroutine.running()
      if pcall(coroutine.resume, own) or pcall(coroutine.close, own) then return "reached itself" end
      return "held"
    end,
    function() sleep(0) return "held" end,
  }
  return results[1] == results[2] and results[1]
end }
