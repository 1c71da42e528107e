-- must: limit.wall_clock
-- Two functions call each other and leave no frame.
return Spell.create { run = function(input, ctx)
  local ping
  local function pong() return ping() end
  function ping() return pong() end
  return ping()
end }
