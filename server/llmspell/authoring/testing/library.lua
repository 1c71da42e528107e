-- What a `*_test.lua` finds besides the API of spells. Loaded as a module before the file is.
--
-- The test asks the host for what no spell may do (cast anything, set the time) by casting a name
-- that cannot be published; the host of the test answers it.
local host = Spell.get "@test"

local tests, groups = json.array(), {}
local loading = true

local function ask(operation, arguments)
  arguments.operation = operation
  return host:cast(arguments)
end

local function value_of(v)
  if v == json.null then return nil end
  return v
end

-- Raises what is wrong with the use of the library, at the line of the test.
local function wrong(message) error(message, 3) end

local function check(what, value, kind)
  if type(value) ~= kind then error(what .. " takes a " .. kind .. ", got a " .. type(value), 3) end
end

-- Returns the author's line that called the caller of this function.
local function line()
  local _, place = pcall(error, "", 4)
  return math.tointeger(tonumber(place:match ":(%d+): $")) or 0
end

---------------------------------------------------------------- declaring tests

function describe(name, body)
  check("describe", name, "string")
  check("describe", body, "function")
  if not loading then wrong "describe stands at the top of the file or in another describe" end
  groups[#groups + 1] = { name = name, before = {} }
  body()
  groups[#groups] = nil
end

local top = {} -- what runs before every test of the file

function before_each(fn)
  check("before_each", fn, "function")
  if not loading then wrong "before_each stands at the top of the file or in describe" end
  local group = groups[#groups]
  local before = group and group.before or top
  before[#before + 1] = fn
end

function it(name, body)
  check("it", name, "string")
  check("it", body, "function")
  if not loading then wrong "it stands at the top of the file or in describe" end
  local names, befores = {}, { top }
  for _, group in ipairs(groups) do
    names[#names + 1] = group.name
    befores[#befores + 1] = group.before
  end
  names[#names + 1] = name
  tests[#tests + 1] = {
    name = table.concat(names, " "),
    line = line(),
    run = function(_, ctx)
      for _, before in ipairs(befores) do
        for _, fn in ipairs(before) do fn(ctx) end
      end
      body(ctx)
    end,
  }
end

---------------------------------------------------------------- expecting

local MAX_SHOWN = 400

local function is_list(t)
  local count = 0
  for _ in pairs(t) do count = count + 1 end
  return count > 0 and count == #t
end

local function shown(value, depth)
  depth = depth or 0
  if value == json.null then return "json.null" end
  if type(value) == "string" then return (string.format("%q", value):gsub("\\\n", "\\n")) end
  if type(value) ~= "table" then return tostring(value) end
  if depth > 6 then return "{...}" end
  local parts, plain = {}, is_list(value)
  for key, item in pairs(value) do
    local text = shown(item, depth + 1)
    if not plain then
      local name = type(key) == "string" and key:match "^[%a_][%w_]*$" or "[" .. shown(key, depth + 1) .. "]"
      text = name .. " = " .. text
    end
    parts[#parts + 1] = text
  end
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

local function short(value)
  local text = shown(value)
  if #text <= MAX_SHOWN then return text end
  return text:sub(1, utf8.offset(text, 0, MAX_SHOWN) - 1) .. "..."
end

-- Returns nil when both are the same, else where and how they differ.
local function difference(expected, actual, path, seen)
  if rawequal(expected, actual) then return nil end
  if type(expected) ~= "table" or type(actual) ~= "table" or expected == json.null or actual == json.null then
    if expected == actual then return nil end
    return path .. "expected " .. short(expected) .. ", got " .. short(actual)
  end
  if seen[expected] == actual then return nil end
  seen[expected] = actual
  for key, item in pairs(expected) do
    local found = difference(item, rawget(actual, key), path .. tostring(key) .. ": ", seen)
    if found then return found end
  end
  for key, item in pairs(actual) do
    if rawget(expected, key) == nil then
      return path .. tostring(key) .. ": expected nothing, got " .. short(item)
    end
  end
  return nil
end

local function contains(value, part)
  if type(value) == "string" then return type(part) == "string" and value:find(part, 1, true) ~= nil end
  if type(value) ~= "table" then return false end
  for _, item in pairs(value) do
    if not difference(part, item, "", {}) then return true end
  end
  return false
end

local function matches(value, pattern) return type(value) == "string" and value:find(pattern) ~= nil end

-- Each returns whether it holds, and what was expected; the negated form says "not" in front.
local matchers = {
  to_equal = function(value, expected)
    local found = difference(expected, value, "", {})
    return found == nil, "to equal " .. short(expected), found
  end,
  to_contain = function(value, part) return contains(value, part), "to contain " .. short(part) end,
  to_match = function(value, pattern) return matches(value, pattern), "to match " .. short(pattern) end,
  to_be_nil = function(value) return value_of(value) == nil, "to be nil" end,
}

local failed -- made by `fail`, so that `to_fail` does not take a failed expectation for an error

local function fail(message)
  failed = { code = "expectation", message = message }
  error(failed, 0)
end

local function code_of(problem)
  if type(problem) ~= "table" then return nil end
  local data = problem.data
  return problem.code, type(data) == "table" and data.code or nil
end

local function message_of(problem)
  return type(problem) == "table" and tostring(problem.message) or tostring(problem)
end

local only = {
  to_be_a = function(value, kind)
    if type(value) ~= kind then fail("expected a " .. tostring(kind) .. ", got " .. short(value)) end
  end,
  to_be_near = function(value, expected, tolerance)
    local near = type(value) == "number" and math.abs(value - expected) <= (tolerance or 1e-6)
    if not near then fail("expected about " .. tostring(expected) .. ", got " .. short(value)) end
  end,
  to_fail = function(value, code, text)
    if type(value) ~= "function" then fail("to_fail takes a function that is to fail, got " .. short(value)) end
    local ok, problem = pcall(value)
    if ok then fail("expected a failure" .. (code and " with " .. code or "") .. ", and it succeeded") end
    if problem == failed then error(problem, 0) end
    local own, authors = code_of(problem)
    if code ~= nil and code ~= own and code ~= authors then
      fail("expected a failure with " .. tostring(code) .. ", got " .. tostring(authors or own or "none")
        .. ": " .. message_of(problem))
    end
    if text ~= nil and not message_of(problem):find(text, 1, true) then
      fail("expected a failure that says " .. short(text) .. ", got " .. short(message_of(problem)))
    end
    return problem
  end,
}

local negations = {}
for name, matcher in pairs(matchers) do
  only[name] = function(value, ...)
    local ok, expected, found = matcher(value, ...)
    if not ok then fail(found or "expected " .. short(value) .. " " .. expected) end
  end
  negations["not_" .. name] = function(value, ...)
    local ok, expected = matcher(value, ...)
    if ok then fail("expected " .. short(value) .. " not " .. expected) end
  end
end
for name, negation in pairs(negations) do only[name] = negation end

local function suggested()
  local names = {}
  for name in pairs(only) do names[#names + 1] = name end
  return table.concat(names, ", ")
end

-- `expect(x).to_equal(y)` and `expect(x):to_equal(y)` are both how people write it.
local EXPECTATION = {
  __index = function(_, name)
    error("expect has no '" .. tostring(name) .. "'; it has " .. suggested(), 2)
  end,
}

function expect(value)
  local expectation = {}
  for name, matcher in pairs(only) do
    expectation[name] = function(first, ...)
      if rawequal(first, expectation) then return matcher(value, ...) end
      return matcher(value, first, ...)
    end
  end
  return setmetatable(expectation, EXPECTATION)
end

---------------------------------------------------------------- the spells of the project

local function state_of(name, options)
  local function act(operation, arguments)
    return ask("state", { name = name, options = options, effect = "state." .. operation, arguments = arguments })
  end
  local methods = {}
  function methods.get(key, default)
    local answer = act("get", { key = key })
    local value, version = value_of(answer[1]), value_of(answer[2])
    if value == nil then value = default end
    return value, version
  end
  function methods.set(key, value, given)
    given = given or {}
    return act("set", { key = key, value = value, if_version = given.if_version, ttl = given.ttl })
  end
  function methods.delete(key) return act("delete", { key = key }) end
  function methods.increment(key, by) return act("increment", { key = key, by = by or 1 }) end
  function methods.update(key, change)
    local value = change((methods.get(key)))
    return value, methods.set(key, value)
  end
  function methods.scan(prefix, given)
    local page = act("scan", {
      prefix = prefix or "",
      after = given and given.after,
      limit = given and given.limit,
      reverse = given and given.reverse,
    })
    return page.items, value_of(page.next)
  end
  function methods.watch(prefix, given)
    given = given or {}
    local since, changes, at = given.since, {}, 0
    return function()
      at = at + 1
      if not changes[at] then
        local answer = act("watch", { prefix = prefix or "", since = since, timeout = given.timeout })
        since, changes, at = answer.next, answer.changes, 1
      end
      return changes[at]
    end
  end
  local face = {}
  for method, fn in pairs(methods) do
    face[method] = function(first, ...)
      if rawequal(first, face) then return fn(...) end
      return fn(first, ...)
    end
  end
  return face
end

function spell(name, options)
  check("spell", name, "string")
  local made = { state = state_of(name, options) }
  function made.cast(first, second)
    local input = second
    if not rawequal(first, made) then input = first end
    return ask("cast", { name = name, options = options, input = input })
  end
  return made
end

---------------------------------------------------------------- answers for effects

mock = {}

function mock.model(name, steps)
  if type(name) == "table" then name, steps = "", name end
  check("mock.model", name, "string")
  check("mock.model", steps, "table")
  ask("model", { name = name, steps = json.array(steps) })
  return {
    requests = function() return ask("requests", { name = name }) end,
  }
end

function mock.tool(name, answer)
  check("mock.tool", name, "string")
  if type(answer) == "function" then
    -- A declaration is the one thing that may carry a function to the host.
    Tool.create({ name = name, description = "@test", run = answer }):cast()
  else
    if answer == nil then answer = json.null end
    ask("tool", { name = name, value = answer })
  end
  return {
    calls = function() return ask("calls", { name = name }) end,
  }
end

function mock.ask(answers)
  if type(answers) == "function" then
    Tool.create({ name = "@ask", description = "@test", run = answers }):cast()
  else
    check("mock.ask", answers, "table")
    ask("ask", { answers = json.array(answers) })
  end
  return {
    questions = function() return ask("questions", {}) end,
  }
end

function mock.now(time)
  check("mock.now", time, "number")
  ask("now", { time = time })
end

---------------------------------------------------------------- for the host

-- Runs the file and returns the tests it declares.
return function(body)
  body()
  loading = false
  return { tests = tests }
end
