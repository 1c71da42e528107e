-- must: completed "held"
-- The same, catching what stops it and trying again further up.
return Spell.create { run = function(input, ctx)
  local deepest, depth = 0, 0
  local own
  own = Spell.create { name = "mirror", run = function()
    depth = depth + 1
    if depth > deepest then deepest = depth end
    local ok, problem = pcall(own.cast, own, {})
    depth = depth - 1
    return ok or problem.code
  end }
  own:cast {}
  return deepest <= 17 and "held" or "nested " .. deepest .. " deep"
end }
