-- must: limit.wall_clock
-- Every step looks through a table that was emptied.
return Spell.create { run = function(input, ctx)
  local t = {}
  for i = 1, 100000 do t[i] = true end
  for i = 1, 100000 do t[i] = nil end
  while true do next(t) end
end }
