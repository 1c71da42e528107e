-- must: completed "held"
-- Nothing, repeated a thousand million million times.
return Spell.create { run = function(input, ctx)
  return string.rep("", 1 << 50) == "" and ("").rep("", 1 << 50, "") == "" and "held"
end }
