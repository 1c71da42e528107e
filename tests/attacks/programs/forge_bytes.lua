-- must: output.invalid
-- A result that is no text.
return Spell.create { run = function(input, ctx)
  return { text = "\255\254" }
end }
