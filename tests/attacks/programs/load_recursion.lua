-- must: unpublished limit.memory | spec.invalid
-- The top level never stops going down.
local function sink() return 1 + sink() end
return sink()
