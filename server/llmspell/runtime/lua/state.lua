-- `State` and its scopes: each method asks the host, which keeps everything.
local codec, errors, tasks = ...
local type, next, error, rawequal = type, next, error, rawequal
local wrong, described, copy = tasks.misuse, errors.described, codec.copy
local null = codec.null

local UPDATE_ATTEMPTS = 20
local USAGES = {
  get = "get(key, default)",
  set = "set(key, value)",
  delete = "delete(key)",
  increment = "increment(key, by)",
  update = "update(key, function(value) return changed end)",
  scan = "scan(prefix, { limit = 100 })",
}

---------------------------------------------------------------- methods

-- The methods take what they belong to first: {scope, title}.
local methods = {}

local function misused(place, method, message)
  local what = place.title .. "." .. method
  wrong(what .. message, place.title .. "." .. USAGES[method])
end

local function check(place, method, key)
  if type(key) ~= "string" then misused(place, method, ": the key must be a text, got " .. described(key)) end
  return place.title .. "." .. method
end

local function table_of(place, method, options)
  if options ~= nil and type(options) ~= "table" then
    misused(place, method, ": the options must be a table, got " .. described(options))
  end
  return copy(options or {})
end

local function read(place, what, key)
  local answer = tasks.perform(what, "state.get", { scope = place.scope, key = key })
  local value, version = answer[1], answer[2]
  if rawequal(value, null) then value = nil end
  if rawequal(version, null) then version = nil end
  return value, version
end

function methods.get(place, key, default)
  local value, version = read(place, check(place, "get", key), key)
  if value == nil then value = default end
  return value, version
end

function methods.set(place, key, value, options)
  local what = check(place, "set", key)
  if value == nil then misused(place, "set", ": no value; remove a key with " .. place.title .. ".delete") end
  local arguments = table_of(place, "set", options)
  arguments.scope, arguments.key, arguments.value = place.scope, key, value
  return (tasks.perform(what, "state.set", arguments))
end

function methods.delete(place, key)
  return (tasks.perform(check(place, "delete", key), "state.delete", { scope = place.scope, key = key }))
end

function methods.increment(place, key, by)
  local what = check(place, "increment", key)
  return (tasks.perform(what, "state.increment", { scope = place.scope, key = key, by = by or 1 }))
end

-- Reads, calls `fn` with the value, writes what it returns; again when someone else wrote meanwhile.
function methods.update(place, key, fn)
  local what = check(place, "update", key)
  if type(fn) ~= "function" then misused(place, "update", " takes a key and a function, got " .. described(fn)) end
  for _ = 1, UPDATE_ATTEMPTS do
    local value, version = read(place, what, key)
    local changed = tasks.sealed("the function of " .. what, "it may run more than once", fn, value)
    if changed == nil then misused(place, "update", ": the function must return the new value") end
    local arguments = { scope = place.scope, key = key, value = changed, if_version = version or "" }
    local ok, result = tasks.attempt(what, "state.set", arguments)
    if ok then return changed, result end
    if result.code ~= "state.conflict" then error(result, 0) end
  end
  error(errors.new({
    code = "state.conflict",
    message = what .. ": the key changed " .. UPDATE_ATTEMPTS .. " times while it was updated",
    hint = "let fewer casts write the same key",
  }, tasks.current.fn, what), 0)
end

function methods.scan(place, prefix, options)
  local arguments = table_of(place, "scan", options)
  arguments.scope, arguments.prefix = place.scope, prefix or ""
  local page = tasks.perform(place.title .. ".scan", "state.scan", arguments)
  return page.items, page.next
end

---------------------------------------------------------------- what authors see

-- `State.get(key)` and `State.shared:get(key)` are both how people write it.
local function faced(scope, title)
  local place, face = { scope = scope, title = title }, {}
  for name, method in next, methods do
    face[name] = function(first, ...)
      local value, more -- not a tail call: its frame tells the author's line
      if rawequal(first, face) then value, more = method(place, ...) else value, more = method(place, first, ...) end
      return value, more
    end
  end
  return face
end

local state = faced("spell", "State")
for _, scope in next, { "session", "user", "shared" } do state[scope] = faced(scope, "State." .. scope) end

return state
