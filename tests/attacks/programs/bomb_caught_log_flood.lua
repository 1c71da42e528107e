-- must: limit.exceeded | limit.wall_clock
-- The same, catching the error that says it is enough.
return Spell.create { budget = { seconds = 1.5 }, run = function(input, ctx)
  while true do pcall(Log.info, "noise") end
end }
