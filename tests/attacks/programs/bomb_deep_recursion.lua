-- must: limit.memory | spell.raised
-- A function that calls itself and has work left to do.
return Spell.create { run = function(input, ctx)
  local function sink() return 1 + sink() end
  return sink()
end }
