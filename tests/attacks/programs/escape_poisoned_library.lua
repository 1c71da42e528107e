-- must: spell.raised
-- Replaces the library, then makes the kernel need it.
return Spell.create { run = function(input, ctx)
  local function evil() error("poisoned") end
  for _, library in ipairs { string, table, math, utf8, coroutine, os } do
    for name in next, library do library[name] = evil end
  end
  local wait, note, cast = sleep, Log.info, Spell.create
  for name in next, _G do if name ~= "error" then _G[name] = evil end end
  note("still here", { fine = true })
  wait(0)
  local answer = cast { run = function() return { 1, 2, { deep = true } } end }:cast {}
  if answer[3].deep ~= true then error("the child was poisoned") end
  error { code = "as.meant", message = "the kernel needs none of it" }
end }
