-- must: completed "held"
-- No function of a spell runs when its memory is taken back.
return Spell.create { run = function(input, ctx)
  local ran = false
  local finalizer = { __gc = function() ran = true end }
  if pcall(setmetatable, {}, finalizer) then return "__gc was taken" end
  if pcall(setmetatable, {}, { __gc = false }) then return "a place for __gc was taken" end
  local later = {}
  setmetatable({}, later)
  later.__gc = finalizer.__gc
  for _ = 1, 20 do local t = {} for i = 1, 2000 do t[i] = { i } end end
  return ran and "a finalizer ran" or "held"
end }
