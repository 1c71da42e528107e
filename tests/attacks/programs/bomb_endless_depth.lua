-- must: budget.exhausted
-- A spell that casts itself.
return Spell.create { run = function(input, ctx)
  local own
  own = Spell.create { name = "mirror", run = function() return own:cast {} end }
  return own:cast {}
end }
