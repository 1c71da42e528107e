-- must: limit.wall_clock
-- The same through gsub.
return Spell.create { run = function(input, ctx)
  return ((("a"):rep(50000)):gsub("a-a-a-a-b", ""))
end }
