-- must: output.invalid
-- A result with a function in it.
return Spell.create { run = function(input, ctx)
  return { f = function() end }
end }
