-- must: limit.memory | limit.wall_clock | spell.raised | output.invalid
-- One table, written out two to the power of sixty times.
return Spell.create { run = function(input, ctx)
  local t = { "leaf" }
  for _ = 1, 60 do t = { t, t } end
  return #json.encode(t)
end }
