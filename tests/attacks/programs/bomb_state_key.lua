-- must: state.too_large
-- A key of a million bytes.
return Spell.create { run = function(input, ctx)
  State.set(("k"):rep(1 << 20), 1)
end }
