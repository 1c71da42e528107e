-- must: limit.wall_clock
-- The loop hides behind a field access.
return Spell.create { run = function(input, ctx)
  local t = setmetatable({}, { __index = function() while true do end end })
  return t.anything
end }
