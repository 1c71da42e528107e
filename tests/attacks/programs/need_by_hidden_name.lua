-- must: need.undeclared
-- Puts the name together where nobody looks.
return Spell.create { run = function(input, ctx)
  return Spell.get("va" .. "ult"):cast {}
end }
