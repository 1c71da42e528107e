-- must: limit.wall_clock
-- One call of the matcher, in which no Lua runs.
return Spell.create { run = function(input, ctx)
  return (("a"):rep(2500)):find((".-"):rep(11) .. "b")
end }
