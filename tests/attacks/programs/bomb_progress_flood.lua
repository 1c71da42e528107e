-- must: limit.exceeded
-- Progress without end.
return Spell.create { run = function(input, ctx)
  local n = 0
  while true do n = n + 1 ctx:progress(n) end
end }
