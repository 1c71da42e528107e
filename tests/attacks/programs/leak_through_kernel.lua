-- must: completed "held"
-- casts: 4
-- Leaves something in what the kernel keeps: modules, functions, waiting tasks, random numbers.
local counter = { casts = 0 }
return Spell.create { run = function(input, ctx)
  local shared = require "shared"
  if shared.kept then return "a module was kept" end
  shared.kept = function() return "kept" end
  local first = random()
  if counter.casts > 0 then return "an upvalue was kept" end
  counter.casts = counter.casts + 1
  local orphan = coroutine.create(function() sleep(0.01) end)
  pcall(parallel, { function() coroutine.resume(orphan) end, function() error("end it all") end })
  for _ = 1, 50 do next({ a = 1, b = 2 }, "a") end
  return "held"
end }
