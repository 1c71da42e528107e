-- must: limit.exceeded | completed | unpublished limit.memory | limit.wall_clock | output.too_large | spec.invalid
-- A workflow of five thousand steps.
local steps = {}
for i = 1, 5000 do steps[i] = function() return "held" end end
return Workflow.parallel(steps)
