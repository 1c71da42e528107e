-- must: output.too_large | limit.memory
-- An answer of twelve million bytes.
return Spell.create { run = function(input, ctx)
  return ("x"):rep(12 << 20)
end }
