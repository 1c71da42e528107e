-- must: unpublished limit.wall_clock
-- The same inside the matcher.
local _ = (("a"):rep(2500)):find((".-"):rep(11) .. "b")
return Spell.create { run = function() end }
