-- must: spell.raised
-- casts: 3
-- Fails in the middle of effects and coroutines; the next cast finds nothing of it.
return Spell.create { run = function(input, ctx)
  if _G.begun then return "a cast before left its globals" end
  _G.begun = true
  State.set("begun", ctx.run_id)
  local guard <close> = setmetatable({}, { __close = function() State.set("closed", ctx.run_id) end })
  coroutine.wrap(function() sleep(0) error("in the middle") end)()
end }
