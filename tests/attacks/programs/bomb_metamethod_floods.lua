-- must: limit.wall_clock | limit.exceeded
-- Effects from inside operators, without end.
return Spell.create { budget = { seconds = 0.4 }, run = function(input, ctx)
  local noisy = setmetatable({}, { __add = function(a) State.increment("n") return a end, __index = function(t) sleep(0) return t end })
  while true do noisy = noisy + 1 noisy = noisy.again end
end }
