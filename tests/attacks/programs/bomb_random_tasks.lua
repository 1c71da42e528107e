-- must: limit.exceeded | limit.memory | limit.wall_clock | completed
-- Branches in branches, each with numbers of its own.
return Spell.create { run = function(input, ctx)
  local function grow(depth)
    local branches = {}
    for i = 1, 8 do branches[i] = function() random() if depth > 0 then grow(depth - 1) end return uuid() end end
    return parallel(branches)
  end
  grow(4)
  return "through"
end }
