-- must: need.undeclared
-- The same as a named branch.
return Spell.create { run = function(input, ctx)
  return Workflow.parallel { branches = { a = { spell = "va" .. "ult" } } }:cast {}
end }
