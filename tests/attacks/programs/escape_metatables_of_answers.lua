-- must: completed "held"
-- What the host answers is plain data, whatever was stored.
return Spell.create { run = function(input, ctx)
  local tricky = { ["__index"] = "x", ["__gc"] = "x", ["__metatable"] = "x", ["__close"] = 1, ["__name"] = "host", ["__mode"] = "kv" }
  State.set("t", tricky)
  local back = State.get("t")
  local holder = setmetatable({}, { __index = back })
  if holder.__gc ~= "x" then return "it came back changed" end
  local ok = pcall(setmetatable, {}, back)
  return ok and "a stored table became a finalizer" or "held"
end }
