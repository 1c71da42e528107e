-- must: output.invalid
-- A result with a name that is no text.
return Spell.create { run = function(input, ctx)
  return { ["\255"] = 1 }
end }
