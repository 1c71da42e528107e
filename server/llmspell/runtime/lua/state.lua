-- `State` and its scopes as authors see them: `State.get(key)` and `State.shared:get(key)` are both
-- how people write it. What the methods do is in state_methods.lua.
local later = ...
local next, rawequal = next, rawequal

local SCOPED = { "get", "set", "delete", "increment", "update", "scan", "watch" }

local methods = later { "transaction", table.unpack(SCOPED) }

local function faced(scope, title)
  local place, face = { scope = scope, title = title }, {}
  local function add(name)
    local method = methods[name]
    face[name] = function(first, ...)
      local value, more -- not a tail call: its frame tells the author's line
      if rawequal(first, face) then value, more = method(place, ...) else value, more = method(place, first, ...) end
      return value, more
    end
  end
  for i = 1, #SCOPED do add(SCOPED[i]) end
  return face, add
end

local state, add = faced("spell", "State")
add "transaction"
for _, scope in next, { "session", "user", "shared", "run" } do state[scope] = faced(scope, "State." .. scope) end

return state
