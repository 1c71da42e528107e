-- must: limit.wall_clock
-- Takes all the memory it may, and then waits with it.
return Spell.create { budget = { seconds = 0.6 }, run = function(input, ctx)
  local kept = {}
  for i = 1, 9000 do kept[i] = ("x"):rep(1000) .. i end
  for _ = 1, 15 do sleep(4) end -- a longer one would let go of it all
  return #kept
end }
