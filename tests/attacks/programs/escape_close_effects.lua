-- must: completed "held"
-- Effects in what is closed when an error, a return and a coroutine end.
return Spell.create { run = function(input, ctx)
  local order = {}
  local function guard(name)
    return setmetatable({}, { __close = function()
      State.set("closed", name)
      order[#order + 1] = State.get("closed")
    end })
  end
  pcall(function() local g <close> = guard "error" error("x") end)
  do local g <close> = guard "block" end
  local co = coroutine.wrap(function() local g <close> = guard "coroutine" return 1 end)
  co()
  for _ in function(_, i) if not i then return 1 end end, nil, nil, guard "loop" do end
  return table.concat(order, ",") == "error,block,coroutine,loop" and "held" or table.concat(order, ",")
end }
