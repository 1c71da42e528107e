-- `State.transaction`: reads as of one moment, writes kept back until all are made at once.
--
-- The host begins it and has the reads; what is written waits here, where the function sees it at
-- once, until the commit. When what was read has changed by then, the function runs again. Its
-- result, or what it raised, is on record: a repeated run gets that and runs nothing.
local codec, errors, tasks = ...
local type, next, error, tostring, rawequal, setmetatable = type, next, error, tostring, rawequal, setmetatable
local sort, min, huge = table.sort, math.min, math.huge
local ssub, mtype, tointeger = string.sub, math.type, math.tointeger
local null, plain = codec.null, codec.plain

local MAX_SCAN = 1000
local WHAT = "State.transaction"
local DELETED = {}

-- What may be asked inside: nothing that acts, because the function may run more than once.
local ALLOWED = { ["state.tx_get"] = true, ["state.tx_scan"] = true, log = true }
local ADVICE = "it may run more than once; call it before or after"

local function raise(fields, what) error(errors.new(fields, tasks.current.fn, what), 0) end

-- Returns a value as it will be read back, so that nobody changes it on the way.
local function kept(what, value)
  local copy, problem = plain(value)
  if problem then raise({ code = "spell.raised", message = what .. ": cannot pass on " .. problem }, what) end
  return copy
end

---------------------------------------------------------------- one attempt

-- Returns the methods that `State` uses inside, and what they wrote: by scope, by key.
local function attempt(id)
  local written, transaction = {}, {}

  local function own(scope, key) return written[scope] and written[scope][key] end

  local function write(scope, key, entry)
    local keys = written[scope] or {}
    written[scope], keys[key] = keys, entry
  end

  function transaction.get(scope, what, key)
    local mine = own(scope, key)
    if mine then
      if mine == DELETED then return nil end
      return (kept(what, mine.value)) -- its version is not known before the commit
    end
    local answer = tasks.perform(what, "state.tx_get", { transaction = id, scope = scope, key = key })
    local value, version = answer[1], answer[2]
    if rawequal(value, null) then value = nil end
    if rawequal(version, null) then version = nil end
    return value, version
  end

  function transaction.set(scope, what, key, value, ttl)
    write(scope, key, { value = kept(what, value), ttl = ttl })
  end

  function transaction.delete(scope, what, key)
    local mine, was_there = own(scope, key), nil
    if mine then
      was_there = mine ~= DELETED
    else
      local _, version = transaction.get(scope, what, key)
      was_there = version ~= nil
    end
    write(scope, key, DELETED)
    return was_there
  end

  function transaction.increment(scope, what, key, by)
    if type(by) ~= "number" then
      raise({ code = "state.failed", message = "a state key is incremented by a number, not " .. errors.described(by) }, what)
    end
    local value = transaction.get(scope, what, key)
    if value == nil then value = 0 end
    if type(value) ~= "number" then
      raise({
        code = "state.failed",
        message = "state key '" .. key .. "' holds " .. errors.described(value) .. ", not a number",
        hint = "increment works on numbers; use State.update for other values",
      }, what)
    end
    local total = value + by
    local wrapped = mtype(total) == "integer" and (by >= 0) ~= (total >= value)
    if wrapped or total ~= total or total == huge or total == -huge then
      raise({ code = "state.failed", message = "state key '" .. key .. "' would leave the range of numbers" }, what)
    end
    write(scope, key, { value = total })
    return total
  end

  -- Returns the keys written under a prefix behind `after`, in the order of the scan, and how many
  -- of them were deleted.
  local function own_keys(arguments)
    local keys, deleted = {}, 0
    local prefix, after, reverse = arguments.prefix, arguments.after, arguments.reverse
    for key, entry in next, written[arguments.scope] or {} do
      local is_behind = not after or (reverse and key < after) or (not reverse and key > after)
      if is_behind and ssub(key, 1, #prefix) == prefix then
        keys[#keys + 1] = key
        if entry == DELETED then deleted = deleted + 1 end
      end
    end
    if reverse then sort(keys, function(a, b) return a > b end) else sort(keys) end
    return keys, deleted
  end

  -- Returns a function that gives the host's items one by one, page by page.
  local function host_items(what, arguments, count)
    local page, at, asked = nil, 0, {}
    for name, value in next, arguments do asked[name] = value end
    asked.transaction, asked.limit = id, min(count, MAX_SCAN)
    return function()
      at = at + 1
      if not page or (not page.items[at] and page.next) then
        page, at = tasks.perform(what, "state.tx_scan", asked), 1
        asked.after = page.next
      end
      return page.items[at]
    end
  end

  -- As State.scan: what was written here stands among what the host has, at its place.
  function transaction.scan(what, arguments)
    local limit = arguments.limit == nil and 100 or tointeger(arguments.limit)
    if not limit or limit < 1 or limit > MAX_SCAN then
      raise({ code = "state.failed", message = "the limit of a scan is from 1 to " .. MAX_SCAN .. ", not " .. tostring(arguments.limit) }, what)
    end
    if arguments.after ~= nil and type(arguments.after) ~= "string" then
      tasks.misuse(what .. ": 'after' must be a text, got " .. errors.described(arguments.after))
    end
    if type(arguments.prefix) ~= "string" then
      tasks.misuse(what .. ": the prefix must be a text, got " .. errors.described(arguments.prefix))
    end
    local keys, deleted = own_keys(arguments)
    local theirs = host_items(what, arguments, limit + 1 + deleted)
    local items, at, found = setmetatable({}, codec.ARRAY), 1, theirs()
    local function is_first(a, b)
      if arguments.reverse then return a > b end
      return a < b
    end
    while found or keys[at] do
      local key = keys[at]
      local item
      if key and (not found or not is_first(found.key, key)) then
        if found and found.key == key then found = theirs() end
        local entry = written[arguments.scope][key]
        if entry ~= DELETED then item = { key = key, value = kept(what, entry.value) } end
        at = at + 1
      else
        item, found = found, theirs()
      end
      if item then
        if #items == limit then return items, items[limit].key end
        items[#items + 1] = item
      end
    end
    return items, nil
  end

  -- Returns the writes in an order of their own, whatever order they came in.
  function transaction.writes()
    local scopes, list = {}, setmetatable({}, codec.ARRAY)
    for scope in next, written do scopes[#scopes + 1] = scope end
    sort(scopes)
    for i = 1, #scopes do
      local scope, keys = scopes[i], {}
      for key in next, written[scope] do keys[#keys + 1] = key end
      sort(keys)
      for j = 1, #keys do
        local entry = written[scope][keys[j]]
        list[#list + 1] = { scope = scope, key = keys[j], delete = entry == DELETED or nil, value = entry.value, ttl = entry.ttl }
      end
    end
    return list
  end

  return transaction
end

---------------------------------------------------------------- the whole

-- Raises what is on record of a function that failed.
local function raise_recorded(problem)
  if problem.fields then raise(problem.fields, WHAT) end
  error(problem.value, 0)
end

-- Abandons the transaction and raises `problem`, in the form a repeated run finds it in.
local function abandon(id, key, problem)
  local recorded = { value = plain(problem) }
  if errors.is_host(problem) then
    recorded = { fields = plain(errors.fields(problem)) }
  elseif recorded.value == nil then
    recorded.value = "the error is a " .. type(problem) .. ", not a message"
  end
  tasks.perform(WHAT, "state.abandon", { transaction = id, error = recorded }, nil, key)
  if errors.is_host(problem) then error(problem, 0) end
  error(recorded.value, 0)
end

local transactions = {}

-- Returns what `fn` returned.
function transactions.run(fn, attempts)
  tasks.refuse_loading(WHAT)
  local key = tasks.next_key()
  local begun = tasks.perform(WHAT, "state.begin", { attempts = attempts }, nil, key)
  if begun.recorded then
    if begun.error then raise_recorded(begun.error) end
    return begun.value
  end
  local id, number = begun.transaction, 0
  while true do
    number = number + 1
    local transaction = attempt(id)
    local limits = { title = WHAT, only = ALLOWED, advice = ADVICE, transaction = transaction }
    local ok, result = tasks.within(key .. "/t" .. number, limits, fn)
    local problem
    if ok then
      result, problem = plain(result)
      if problem then
        local message = WHAT .. ": cannot pass on what its function returned: " .. problem
        ok, result = false, errors.new({ code = "spell.raised", message = message }, fn)
      end
    end
    if not ok then abandon(id, key, result) end
    local arguments = { transaction = id, writes = transaction.writes(), value = result }
    if tasks.perform(WHAT, "state.commit", arguments, nil, key) then return result end
  end
end

return transactions
