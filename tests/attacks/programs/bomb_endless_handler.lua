-- must: limit.wall_clock
-- The loop sits in the error handler, where a hook would be off.
return Spell.create { run = function(input, ctx)
  local function spin() while true do end end
  while true do xpcall(spin, spin) end
end }
