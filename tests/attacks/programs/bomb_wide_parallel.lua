-- must: limit.memory | limit.exceeded | limit.wall_clock | completed
-- A hundred thousand branches that all ask for something.
return Spell.create { run = function(input, ctx)
  local branches = {}
  for i = 1, 100000 do branches[i] = function() Log.debug("x") end end
  parallel(branches)
  return "through"
end }
