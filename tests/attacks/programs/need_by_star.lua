-- must: need.undeclared | spell.not_found
-- Declares everything with a star.
return Spell.create { needs = { tools = { "*", "v*", "" } }, run = function(input, ctx)
  return Spell.get("va" .. "ult"):cast {}
end }
