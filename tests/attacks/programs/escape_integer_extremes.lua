-- must: completed "held"
-- The largest and smallest integers, everywhere a position is taken.
return Spell.create { run = function(input, ctx)
  local low, high = math.mininteger, math.maxinteger
  local liar = setmetatable({}, { __len = function() return high end })
  pcall(table.move, {}, low, high, 1)
  pcall(table.move, { 1 }, 1, 2, high)
  pcall(table.unpack, {}, low, high)
  pcall(table.unpack, {}, high - 1, high)
  pcall(table.concat, {}, "", low, low)
  pcall(table.insert, liar, 1)
  pcall(table.remove, liar, high)
  pcall(string.rep, "x", high)
  pcall(string.rep, "xy", high // 2 + 2, "z")
  pcall(string.rep, "x", low)
  pcall(string.sub, "x", low, high)
  pcall(string.byte, ("x"):rep(1000), low, high)
  pcall(string.find, "x", "x", high)
  pcall(utf8.codepoint, "x", low, high)
  pcall(utf8.offset, "x", low, high)
  pcall(utf8.char, high)
  pcall(utf8.char, 0x7fffffff)
  pcall(select, high)
  pcall(select, low)
  pcall(math.random, low, high)
  pcall(random, high, low)
  pcall(rawset, {}, 0 / 0, 1)
  return "held"
end }
