-- must: spell.raised | limit.memory
-- Texts below the limit of one repeat, stuck together.
return Spell.create { run = function(input, ctx)
  local text = "x"
  for _ = 1, 60 do text = text:rep(2) .. text:rep(3, text) end
  return #text
end }
