-- must: completed | unpublished limit.memory | limit.wall_clock | output.too_large | spec.invalid
-- A workflow of a hundred thousand steps.
local steps = {}
for i = 1, 100000 do steps[i] = function() return "held" end end
return Workflow.parallel(steps)
