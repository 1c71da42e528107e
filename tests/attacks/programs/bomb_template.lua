-- must: spell.raised | output.too_large | workflow.failed | limit.exceeded
-- A short template that grows a thousand times.
return Spell.create { run = function(input, ctx)
  return #template(("{{a}}"):rep(2000), { a = ("x"):rep(1000000) })
end }
