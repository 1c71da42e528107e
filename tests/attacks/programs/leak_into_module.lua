-- must: completed "held"
-- casts: 4
-- Leaves something in a module of the project, and looks for it in the next cast.
local shared = require "shared"
return Spell.create { run = function()
  local before = shared.left
  shared.left = "something of mine"
  shared[1] = setmetatable({}, { __index = function() return "mine too" end })
  return before == nil and require "shared" == shared and "held" or before
end }
