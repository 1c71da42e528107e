-- must: budget.exhausted
-- A child's larger budget does not enlarge its parent's.
return Spell.create { budget = { calls = 3 }, run = function(input, ctx)
  local agent = Agent.create { name = "talker" }
  local child = Spell.create { budget = { calls = 1000, depth = 1000 }, run = function()
    for _ = 1, 10 do agent:ask "again" end
    return "ten calls"
  end }
  return child:cast {}
end }
