-- must: limit.exceeded
-- The same through print.
return Spell.create { run = function(input, ctx)
  while true do print(1, 2, 3) end
end }
