-- must: limit.wall_clock
-- Each coroutine computes too little to be noticed; together they never end.
return Spell.create { run = function(input, ctx)
  local total = 0
  while true do
    total = total + coroutine.wrap(function()
      local sum = 0
      for i = 1, 400 do sum = sum + i end
      return sum
    end)()
  end
end }
