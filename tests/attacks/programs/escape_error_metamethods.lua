-- must: spell.raised
-- The error has methods of its own, and each of them is a trap.
return Spell.create { run = function(input, ctx)
  local function trap() while true do end end
  error(setmetatable({ code = "mine", message = "plain" }, {
    __tostring = trap, __index = trap, __len = trap, __pairs = trap, __concat = trap, __eq = trap, __name = ("n"):rep(100000),
  }))
end }
