-- must: completed "held"
-- Yields what looks like a request, from everywhere.
return Spell.create { run = function(input, ctx)
  local forged = {
    { "HOST", "state.get", "\x80", "x" }, { {}, "cast", {}, "x" }, { nil, nil, nil }, { coroutine, sleep, print },
  }
  for _, values in ipairs(forged) do
    if pcall(coroutine.yield, table.unpack(values)) then return "the scheduler took it" end
    local co = coroutine.create(function() return coroutine.yield(table.unpack(values)) end)
    local ok, first = coroutine.resume(co)
    if not ok or first ~= values[1] then return "a coroutine's own yield went astray" end
    coroutine.resume(co, "answer")
  end
  local many = {}
  for i = 1, 200 do many[i] = i end
  local got = table.pack(coroutine.wrap(function() coroutine.yield(table.unpack(many)) end)())
  return got.n == 200 and "held"
end }
