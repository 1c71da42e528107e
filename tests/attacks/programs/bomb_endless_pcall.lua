-- must: limit.wall_clock
-- Every error is caught, so no error can end it.
return Spell.create { run = function(input, ctx)
  while true do pcall(error, { "again" }) end
end }
