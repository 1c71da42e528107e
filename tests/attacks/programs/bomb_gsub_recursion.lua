-- must: spell.raised | limit.memory | limit.wall_clock
-- Each replacement begins another.
return Spell.create { run = function(input, ctx)
  local function replace() return (("x"):gsub("x", replace)) end
  return replace()
end }
