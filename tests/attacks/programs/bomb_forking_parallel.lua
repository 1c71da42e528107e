-- must: limit.memory | limit.wall_clock | limit.exceeded
-- Each branch splits in two.
return Spell.create { run = function(input, ctx)
  local function fork() return parallel { fork, fork } end
  return fork()
end }
