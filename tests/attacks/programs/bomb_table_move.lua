-- must: limit.wall_clock
-- One C loop of a million million steps.
return Spell.create { run = function(input, ctx)
  table.move({ 1 }, 1, 1 << 40, 2)
end }
