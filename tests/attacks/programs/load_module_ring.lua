-- must: unpublished spec.invalid | spec.syntax | limit.memory
-- A thousand modules that need each other in a ring.
local ring = require "ring.m0"
return Spell.create { run = function() return ring end }
