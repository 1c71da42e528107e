-- must: completed | output.too_large | limit.memory | limit.exceeded
-- Scans more than a message may hold.
return Spell.create { run = function(input, ctx)
  for i = 1, 60 do State.set("k" .. i, ("x"):rep(200000)) end
  local ok, items = pcall(State.scan, "k", { limit = 1000 })
  return ok and #items or items.code
end }
