-- must: completed "held"
-- Hostile formats of string.pack raise errors and nothing else.
return Spell.create { run = function(input, ctx)
  local formats = {
    "!17", "!0", "i17", "i0", "s16", "j" .. ("j"):rep(1000), "c2147483647", "c9999999999999", "!16" .. ("Xi16"):rep(100),
    ("!1"):rep(5000), "z", "s1", "\0", "<>=!", "Xz", "X", " ", "i16i16i16", ("c1000000"):rep(2000),
  }
  for _, format in ipairs(formats) do
    pcall(string.pack, format, 1, 2, 3)
    pcall(string.pack, format, "x\0y", "z")
    pcall(string.packsize, format)
    for _, position in ipairs { 1, 0, -1, 5, math.mininteger, math.maxinteger } do
      pcall(string.unpack, format, "\255\255\255\255\255\255\255\255", position)
    end
  end
  return "held"
end }
