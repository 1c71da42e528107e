-- What the methods of `State` do: each asks the host, which keeps everything. See state.lua.
--
-- Inside a transaction the same methods read and write that instead: see transactions.lua.
local codec, errors, tasks, durations, transactions = ...
local type, next, error, rawequal = type, next, error, rawequal
local sort, concat, tostring, mtype = table.sort, table.concat, tostring, math.type
local wrong, described = tasks.misuse, errors.described
local null = codec.null

local UPDATE_ATTEMPTS, TRANSACTION_ATTEMPTS, MAX_ATTEMPTS = 20, 20, 1000
local USAGES = {
  get = "get(key, default)",
  set = 'set(key, value, { ttl = "10m" })',
  delete = "delete(key)",
  increment = "increment(key, by)",
  update = "update(key, function(value) return changed end)",
  scan = "scan(prefix, { limit = 100 })",
  watch = "watch(prefix, { timeout = \"1h\" })",
  transaction = "transaction(function() ... end)",
}
local OPTIONS = {
  set = { "if_version", "ttl" },
  scan = { "after", "limit", "reverse" },
  watch = { "since", "timeout" },
  transaction = { "attempts" },
}

---------------------------------------------------------------- arguments

local function misused(place, method, message)
  local what = place.title .. "." .. method
  wrong(what .. message, place.title .. "." .. USAGES[method])
end

local function check(place, method, key)
  if type(key) ~= "string" then misused(place, method, ": the key must be a text, got " .. described(key)) end
  return place.title .. "." .. method
end

-- Returns a new table of the options that `method` takes.
local function options_of(place, method, given)
  if given ~= nil and type(given) ~= "table" then
    misused(place, method, ": the options must be a table, got " .. described(given))
  end
  local allowed, found, count = OPTIONS[method], {}, 0
  for i = 1, #allowed do
    local name = allowed[i]
    local value = given and given[name]
    if value ~= nil then found[name], count = value, count + 1 end
  end
  local unknown = {}
  for name in next, given or {} do
    if found[name] == nil then unknown[#unknown + 1] = tostring(name) end
  end
  if #unknown > 0 then
    sort(unknown)
    misused(place, method, ": there is no option '" .. unknown[1] .. "'; it takes " .. concat(allowed, ", "))
  end
  return found
end

local function take_seconds(place, method, options, name)
  if options[name] == nil then return end
  local seconds = durations.seconds(options[name])
  if not seconds or seconds == 0 then
    misused(place, method, ": '" .. name .. "' is " .. durations.forms() .. ", and more than nothing")
  end
  options[name] = seconds
end

-- Returns the transaction that the running task is in, or nil.
local function open()
  local task = tasks.current
  return task and task.scope.transaction
end

---------------------------------------------------------------- methods

-- They take what they belong to first: {scope, title}.
local methods = {}

local function read(place, what, key)
  local transaction = open()
  if transaction then return transaction.get(place.scope, what, key) end
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
  local arguments = options_of(place, "set", options)
  take_seconds(place, "set", arguments, "ttl")
  local transaction = open()
  if transaction then
    if arguments.if_version then
      misused(place, "set", ": no if_version in a transaction; it fails as a whole when what it read has changed")
    end
    return transaction.set(place.scope, what, key, value, arguments.ttl)
  end
  arguments.scope, arguments.key, arguments.value = place.scope, key, value
  return (tasks.perform(what, "state.set", arguments))
end

function methods.delete(place, key)
  local what, transaction = check(place, "delete", key), open()
  if transaction then return transaction.delete(place.scope, what, key) end
  return (tasks.perform(what, "state.delete", { scope = place.scope, key = key }))
end

function methods.increment(place, key, by)
  local what, transaction = check(place, "increment", key), open()
  if transaction then return transaction.increment(place.scope, what, key, by or 1) end
  return (tasks.perform(what, "state.increment", { scope = place.scope, key = key, by = by or 1 }))
end

local function changed_by(place, what, fn, value)
  local changed = tasks.sealed("the function of " .. what, "it may run more than once", fn, value)
  if changed == nil then misused(place, "update", ": the function must return the new value") end
  return changed
end

-- Reads, calls `fn` with the value, writes what it returns; again when someone else wrote meanwhile.
function methods.update(place, key, fn)
  local what = check(place, "update", key)
  if type(fn) ~= "function" then misused(place, "update", " takes a key and a function, got " .. described(fn)) end
  local transaction = open()
  if transaction then
    local changed = changed_by(place, what, fn, (read(place, what, key)))
    transaction.set(place.scope, what, key, changed)
    return changed
  end
  for _ = 1, UPDATE_ATTEMPTS do
    local value, version = read(place, what, key)
    local changed = changed_by(place, what, fn, value)
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
  local what, arguments = place.title .. ".scan", options_of(place, "scan", options)
  arguments.scope, arguments.prefix = place.scope, prefix or ""
  local transaction = open()
  if transaction then
    local items, more = transaction.scan(what, arguments)
    return items, more
  end
  local page = tasks.perform(what, "state.scan", arguments)
  return page.items, page.next
end

-- Returns an iterator over the changes under a prefix, beginning with its first turn. It waits for
-- the next one, and ends when none comes within `timeout`.
function methods.watch(place, prefix, options)
  local what, arguments = place.title .. ".watch", options_of(place, "watch", options)
  if prefix ~= nil and type(prefix) ~= "string" then
    misused(place, "watch", ": the prefix must be a text, got " .. described(prefix))
  end
  take_seconds(place, "watch", arguments, "timeout")
  arguments.scope, arguments.prefix = place.scope, prefix or ""
  local changes, at = {}, 0
  return function()
    at = at + 1
    if not changes[at] then
      local answer = tasks.perform(what, "state.watch", arguments)
      arguments.since = answer.next
      changes, at = answer.changes, 1
      if answer.resync then -- some were missed: the author is to read the prefix again
        at = 0
        return { resync = true, deleted = false, version = answer.next }
      end
    end
    return changes[at]
  end
end

-- Runs `fn`, in which state is read as of one moment, and writes what it wrote all at once. Runs it
-- again when something it read has changed meanwhile.
function methods.transaction(place, fn, options)
  if type(fn) ~= "function" then misused(place, "transaction", " takes a function, got " .. described(fn)) end
  local attempts = options_of(place, "transaction", options).attempts or TRANSACTION_ATTEMPTS
  if mtype(attempts) ~= "integer" or attempts < 1 or attempts > MAX_ATTEMPTS then
    misused(place, "transaction", ": 'attempts' is a whole number from 1 to " .. MAX_ATTEMPTS)
  end
  local result = transactions.run(fn, attempts)
  return result
end

return methods
