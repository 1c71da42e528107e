-- must: limit.wall_clock
-- A loop without a loop.
return Spell.create { run = function(input, ctx)
  ::again::
  goto again
end }
