-- must: output.invalid
-- A result deeper than values may be.
return Spell.create { run = function(input, ctx)
  local t = {}
  for _ = 1, 101 do t = { t } end
  return t
end }
