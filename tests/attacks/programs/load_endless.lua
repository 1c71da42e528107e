-- must: unpublished limit.wall_clock
-- The top level never returns.
while true do end
