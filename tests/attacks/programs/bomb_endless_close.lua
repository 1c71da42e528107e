-- must: limit.wall_clock
-- The error is caught, but the variable to be closed never lets go.
return Spell.create { run = function(input, ctx)
  pcall(function()
    local guard <close> = setmetatable({}, { __close = function() while true do end end })
    error("over")
  end)
end }
