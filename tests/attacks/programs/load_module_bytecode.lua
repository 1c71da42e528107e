-- must: unpublished spec.syntax
-- A module that is bytecode.
local evil = require "bytecode"
return Spell.create { run = function() return evil() end }
