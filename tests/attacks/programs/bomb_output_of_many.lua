-- must: output.too_large | limit.memory | limit.wall_clock
-- An answer of a million small things.
return Spell.create { run = function(input, ctx)
  local list = {}
  for i = 1, 1e6 do list[i] = { n = i } end
  return list
end }
