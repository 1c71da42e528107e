-- must: limit.exceeded
-- Pieces of an answer without end.
return Spell.create { run = function(input, ctx)
  while true do ctx:emit("more") end
end }
