-- must: completed {"a": "held"}
-- A result with metamethods that all raise.
return Spell.create { run = function(input, ctx)
  local function trap() error("trap") end
  return setmetatable({ a = "held" }, { __index = trap, __newindex = trap, __len = trap, __pairs = trap, __eq = trap, __close = trap, __call = trap })
end }
