-- must: spell.raised | limit.memory
-- A hundred thousand tables, each asking the next.
return Spell.create { run = function(input, ctx)
  local t = {}
  for _ = 1, 100000 do t = setmetatable({}, { __index = t }) end
  return tostring(t.absent)
end }
