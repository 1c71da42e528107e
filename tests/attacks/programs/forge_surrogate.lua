-- must: output.invalid
-- A result with half a character.
return Spell.create { run = function(input, ctx)
  return "\xED\xA0\x80"
end }
