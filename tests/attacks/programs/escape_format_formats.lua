-- must: completed "held"
-- Hostile formats of string.format raise errors and nothing else.
return Spell.create { run = function(input, ctx)
  local formats = {
    "%", "%%%", "%n", "%99999d", "%.99999f", "%*d", "%1$s", "%s%s%s%s", "%.20s\0%s", "%q", "%a", "%099d", "%-+ #0d", "%5.5.5d",
    "%l", "%ll", "%z", "\255%s", ("%d"):rep(1000), "%c", "%i%u%o%x%X%e%E%g%G",
  }
  local values = { 1, "x", 1e308, -1e308, 0 / 0, math.mininteger, math.huge, "\0", true, {}, print }
  for _, format in ipairs(formats) do
    for _, value in ipairs(values) do pcall(string.format, format, value, value, value, value) end
  end
  return "held"
end }
