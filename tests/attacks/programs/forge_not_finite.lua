-- must: output.invalid
-- A result that is no number.
return Spell.create { run = function(input, ctx)
  return { 0 / 0 }
end }
