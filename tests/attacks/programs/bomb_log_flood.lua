-- must: limit.exceeded
-- Log lines without end.
return Spell.create { run = function(input, ctx)
  while true do Log.info("noise") end
end }
