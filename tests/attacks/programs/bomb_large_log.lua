-- must: limit.exceeded
-- Few log lines, each of half a million bytes.
return Spell.create { run = function()
  local text = ("x"):rep(500000)
  for _ = 1, 1000 do Log.info(text) end
end }
