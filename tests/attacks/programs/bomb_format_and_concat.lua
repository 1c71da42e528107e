-- must: limit.memory | limit.wall_clock | spell.raised
-- Formatted pieces, joined, then joined with themselves.
return Spell.create { run = function(input, ctx)
  local pieces = {}
  for i = 1, 200000 do pieces[i] = ("%80s"):format(i) end
  local all = table.concat(pieces, ", ")
  return #(("%s"):rep(12):format(all, all, all, all, all, all, all, all, all, all, all, all))
end }
