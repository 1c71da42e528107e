-- must: limit.memory | limit.wall_clock | spell.raised
-- Recursion that goes on in the handler of its own overflow.
return Spell.create { run = function(input, ctx)
  local function sink()
    xpcall(sink, sink)
    return sink()
  end
  return sink()
end }
