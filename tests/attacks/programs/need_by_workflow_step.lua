-- must: need.undeclared
-- A workflow made in the middle of a cast has the name as its step.
return Spell.create { run = function(input, ctx)
  return Workflow.sequential { "va" .. "ult" }:cast {}
end }
