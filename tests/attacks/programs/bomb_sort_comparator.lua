-- must: limit.wall_clock
-- A comparator that does not return.
return Spell.create { run = function(input, ctx)
  local t = {}
  for i = 1, 100 do t[i] = i end
  table.sort(t, function() while true do end end)
end }
