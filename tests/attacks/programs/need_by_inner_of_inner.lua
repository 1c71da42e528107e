-- must: need.undeclared
-- The same, two declarations deep.
return Spell.create { run = function(input, ctx)
  local function wrap(depth)
    return Spell.create { name = "wrap" .. depth, needs = { tools = { "vault" } }, run = function()
      if depth == 0 then return Spell.get("va" .. "ult"):cast {} end
      return wrap(depth - 1):cast {}
    end }
  end
  return wrap(3):cast {}
end }
