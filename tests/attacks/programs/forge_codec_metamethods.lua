-- must: completed "held"
-- No metamethod runs while a value is written down.
return Spell.create { run = function(input, ctx)
  local ran
  local function trap() ran = true return 1e9 end
  local liar = setmetatable({ 1, 2 }, { __index = trap, __len = trap, __pairs = trap, __next = trap, __eq = trap, __tostring = trap, __ipairs = trap })
  if json.encode(liar) ~= "[1,2]" then return json.encode(liar) end
  State.set("liar", liar)
  Log.info("x", { liar = liar })
  return ran and "a metamethod ran" or "held"
end }
