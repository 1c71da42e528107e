-- must: completed "held"
-- Yields more values than a stack may hold, and resumes with as many.
return Spell.create { run = function(input, ctx)
  local many = {}
  for i = 1, 100000 do many[i] = i end
  local co = coroutine.create(function(...) return coroutine.yield(...) end)
  pcall(coroutine.resume, co, table.unpack(many))
  pcall(coroutine.resume, co, table.unpack(many))
  pcall(table.unpack, {}, 1, 1e7)
  pcall(select, -1)
  pcall(string.char, table.unpack(many))
  return "held"
end }
