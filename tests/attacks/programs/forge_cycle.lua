-- must: output.invalid
-- A result that contains itself.
return Spell.create { run = function(input, ctx)
  local t = {}
  t.t = t
  return t
end }
