-- must: completed "held"
-- Hostile formats and times of os.date and os.time raise errors and nothing else.
return Spell.create { run = function(input, ctx)
  for _, format in ipairs { "%", "%E", "%Ez", "%O", "*t%", "!%", "!*t!", "%9999Y", "%\0", ("%c"):rep(20000), "%Q", "\255", "*", "%:z" } do
    pcall(os.date, format, 0)
    pcall(os.date, format, -1)
  end
  for _, time in ipairs { 1e300, math.maxinteger, math.mininteger, 0 / 0, 1 / 0, "0", {}, 2 ^ 55 } do
    pcall(os.date, "%c", time)
    pcall(os.date, "*t", time)
    pcall(os.time, { year = time, month = 1, day = 1 })
    pcall(os.difftime, time, time)
  end
  pcall(os.time, setmetatable({}, { __index = function() error("x") end }))
  return os.execute == nil and "held"
end }
