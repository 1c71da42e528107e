-- must: output.invalid | completed
-- Content that is not what Content makes.
return Spell.create { run = function(input, ctx)
  return { ["$content"] = { { type = "image", data = 5 }, "text", 5, { type = {} }, { nothing = true } } }
end }
