-- must: limit.exceeded
-- Few pieces of an answer, each of half a million bytes.
return Spell.create { run = function(_, ctx)
  local text = ("x"):rep(500000)
  for _ = 1, 1000 do ctx:emit { data = { text, text } } end
end }
