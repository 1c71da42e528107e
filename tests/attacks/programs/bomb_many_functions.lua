-- must: completed | limit.memory | limit.wall_clock | limit.exceeded
-- Ten thousand declarations, each with functions the host must remember.
return Spell.create { run = function(input, ctx)
  for i = 1, 10000 do
    local made = Spell.create { name = "made", run = function() return i end }
    if i % 100 == 0 then made:cast {} end
  end
  return "through"
end }
