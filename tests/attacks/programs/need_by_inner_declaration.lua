-- must: need.undeclared
-- A spell made in the middle of a cast declares for itself what its maker did not.
return Spell.create { run = function(input, ctx)
  local inner = Spell.create { name = "inner", needs = { tools = { "vault" } }, run = function()
    return Spell.get("va" .. "ult"):cast {}
  end }
  return inner:cast {}
end }
