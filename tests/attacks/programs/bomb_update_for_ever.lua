-- must: limit.wall_clock
-- The function of an update never returns.
return Spell.create { run = function(input, ctx)
  State.update("k", function() while true do end end)
end }
