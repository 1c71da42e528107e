-- must: limit.memory | output.too_large | spell.raised | limit.wall_clock
-- The answer comes when there is no room left for it.
return Spell.create { run = function(input, ctx)
  State.set("large", ("z"):rep(200000))
  kept = {}
  pcall(function() while true do kept[#kept + 1] = ("x"):rep(1000) .. #kept end end)
  pcall(function() while true do kept[#kept + 1] = {} end end)
  local total = 0
  for _ = 1, 50 do total = total + #State.get("large") kept[#kept + 1] = State.get("large") .. total end
  return total
end }
