-- must: limit.wall_clock | limit.memory | spell.raised
-- A list that says it is a thousand million long.
return Spell.create { run = function(input, ctx)
  local list = setmetatable({}, { __len = function() return 1 << 40 end, __index = function() return "" end })
  return #table.concat(list)
end }
