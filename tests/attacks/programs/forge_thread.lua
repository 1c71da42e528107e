-- must: output.invalid
-- A result with a thread in it.
return Spell.create { run = function(input, ctx)
  return { coroutine.running() }
end }
