-- must: limit.wall_clock
-- A long text counted for ever.
return Spell.create { run = function(input, ctx)
  local text = ("é"):rep(4000000)
  while true do utf8.len(text) end
end }
