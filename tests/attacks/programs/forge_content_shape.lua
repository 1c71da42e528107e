-- must: output.invalid
-- Content that is no list at all.
return Spell.create { run = function(input, ctx)
  return { ["$content"] = 5 }
end }
