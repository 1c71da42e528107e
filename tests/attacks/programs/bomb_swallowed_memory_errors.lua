-- must: limit.wall_clock | limit.memory
-- Memory runs out again and again, and every time it is caught.
return Spell.create { run = function(input, ctx)
  local kept = {}
  while true do
    pcall(function() while true do kept[#kept + 1] = ("x"):rep(1000) .. #kept end end)
  end
end }
