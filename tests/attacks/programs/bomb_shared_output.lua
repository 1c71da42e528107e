-- must: limit.memory | limit.wall_clock | output.too_large
-- An answer that is small here and endless when written down.
return Spell.create { run = function(input, ctx)
  local t = { "leaf" }
  for _ = 1, 90 do t = { t, t } end
  return t
end }
