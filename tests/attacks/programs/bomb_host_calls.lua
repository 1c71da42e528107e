-- must: limit.exceeded
-- One request after the other, none of which takes long.
return Spell.create { run = function()
  for _ = 1, 100000 do State.get("nothing") end
  return "through"
end }
