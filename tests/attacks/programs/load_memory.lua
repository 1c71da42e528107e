-- must: unpublished limit.memory
-- The top level eats all there is.
local t = {}
for i = 1, math.huge do t[i] = { i } end
