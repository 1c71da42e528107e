-- The environment of a spell: what of Lua's library it gets, and what differs from plain Lua.
--
-- Not here: debug, io, load, dofile, collectgarbage, package, and all of os but time. Iteration
-- order, time and random numbers are the same in every process that runs the same cast.
local errors, tasks, later = ...
local type, next, error, pcall, tostring, rawget = type, next, error, pcall, tostring, rawget
local setmetatable, getmetatable, xpcall, ipairs = setmetatable, getmetatable, xpcall, ipairs
local sbyte, sfind, sformat, srep = string.byte, string.find, string.format, string.rep
local sort, tpack, tunpack = table.sort, table.pack, table.unpack
local floor, mtype = math.floor, math.type
local os_date, os_time = os.date, os.time
local raw_metatable = debug.getmetatable

local MAX_REPEAT = 16 << 20 -- bytes string.rep may make at once

local function pick(library, names)
  local t = {}
  for i = 1, #names do t[names[i]] = library[names[i]] end
  return t
end

local S = pick(_G, { "assert", "error", "pcall", "rawequal", "rawget", "rawlen", "rawset", "select", "tonumber", "type", "_VERSION" })
S._G = S
S.math = pick(math, {
  "abs", "acos", "asin", "atan", "ceil", "cos", "deg", "exp", "floor", "fmod", "huge", "log",
  "max", "maxinteger", "min", "mininteger", "modf", "pi", "rad", "sin", "sqrt", "tan", "tointeger",
  "type", "ult",
})
S.string = pick(string, {
  "byte", "char", "find", "gmatch", "len", "lower", "match", "pack", "packsize", "reverse", "sub",
  "unpack", "upper",
})
S.table = pick(table, { "concat", "insert", "move", "pack", "remove", "unpack" })
S.utf8 = pick(utf8, { "char", "charpattern", "codepoint", "codes", "len", "offset" })
local callbacks = later("callbacks", { "sort", "gsub" })
S.table.sort, S.string.gsub = callbacks.sort, callbacks.gsub
S.coroutine = later("coroutines", { "create", "resume", "wrap", "isyieldable", "yield", "close" }, tasks)
S.coroutine.status, S.coroutine.running = coroutine.status, coroutine.running

-- Passes the outcome of a raw function on, as a tail call; its error gets the author's position.
local function checked(ok, ...)
  if ok then return ... end
  local problem = ...
  error(problem, errors.is_out_of_memory(problem) and 0 or 2)
end

---------------------------------------------------------------- order

local function rank(key)
  local kind = type(key)
  if kind == "number" then return 1 end
  if kind == "string" then return 2 end
  if kind == "boolean" then return key and 4 or 3 end
  return 5
end

local function before(a, b)
  local x, y = rank(a), rank(b)
  if x ~= y then return x < y end
  return x < 3 and a < b
end

-- Returns the keys in order, or nil when `next` itself goes in order (lists, mostly).
local function ordered_keys(t)
  local previous
  local in_order = true
  for key in next, t do
    if type(key) ~= "number" or (previous and key < previous) then
      in_order = false
      break
    end
    previous = key
  end
  if in_order then return nil end
  local keys, n, plain = {}, 0, true
  for key in next, t do
    n = n + 1
    keys[n] = key
    plain = plain and type(key) == "string"
  end
  if plain then sort(keys) else sort(keys, before) end
  return keys
end

-- Numbers ascending, then strings by their bytes, then false and true; tables and functions as
-- keys come last in no fixed order. Costs a sort of the keys unless they are 1..n. Fields may
-- be added while it runs: they are not visited.
function S.pairs(t)
  local kind = raw_metatable(t)
  local own = kind and rawget(kind, "__pairs")
  if own then
    local f, s, c = own(t)
    return f, s, c
  end
  if type(t) ~= "table" then error("pairs: a table was expected, got a " .. type(t), 2) end
  local keys = ordered_keys(t)
  if not keys then return next, t, nil end
  local i = 0
  return function()
    while true do
      i = i + 1
      local key = keys[i]
      if key == nil then return nil end
      local value = rawget(t, key)
      if value ~= nil then return key, value end
    end
  end, t, nil
end

-- Lua's own would fail at the first item, without a name and a line.
function S.ipairs(t)
  if t == nil then error("ipairs: a table was expected, got nil", 2) end
  return ipairs(t)
end

local walk = { t = nil, keys = nil, at = 0 } -- the last `next` walk, so that going on is cheap

function S.next(t, key)
  if type(t) ~= "table" then error("next: a table was expected, got a " .. type(t), 2) end
  if next(t) == nil then return nil end
  if key == nil or walk.t ~= t or walk.keys[walk.at] ~= key then
    local keys = ordered_keys(t)
    if not keys then return next(t, key) end
    walk = { t = t, keys = keys, at = 0 }
    if key ~= nil then
      for i = 1, #keys do
        if keys[i] == key then walk.at = i end
      end
      if walk.at == 0 then error("next: the key is not in the table", 2) end
    end
  end
  while true do
    walk.at = walk.at + 1
    local found = walk.keys[walk.at]
    if found == nil then return nil end
    local value = rawget(t, found)
    if value ~= nil then return found, value end
  end
end

---------------------------------------------------------------- metatables and text

-- Its handler runs while the failed function is still on the stack: nothing can wait there. When
-- the handler fails, that error is the result; Lua's own would call it again until the stack is full.
function S.xpcall(f, handler, ...)
  if type(handler) ~= "function" then return xpcall(f, handler, ...) end
  local function handled(problem)
    local _, result = pcall(handler, problem)
    return result
  end
  tasks.label(handled, "the handler of xpcall", "handle the error after xpcall has returned it")
  return xpcall(f, handled, ...)
end

function S.getmetatable(value)
  if type(value) == "table" then return getmetatable(value) end
  return type(value) == "string" and "string" or nil
end

function S.setmetatable(t, metatable)
  if type(metatable) == "table" and rawget(metatable, "__gc") ~= nil then
    error("setmetatable: __gc is not available to spells", 2)
  end
  return checked(pcall(setmetatable, t, metatable))
end

-- No addresses: they would differ from run to run, and help to exploit a defect.
function S.tostring(value)
  local kind = type(value)
  if kind == "table" then
    local metatable = raw_metatable(value)
    if metatable and rawget(metatable, "__tostring") then return tostring(value) end
    return kind
  end
  if kind == "function" or kind == "thread" or kind == "userdata" then return kind end
  return tostring(value)
end

function S.string.rep(s, count, separator)
  local size = (type(s) == "string" and #s or 0) + (type(separator) == "string" and #separator or 0)
  if mtype(count) == "integer" and count > 1 then
    if size == 0 then return "" end
    if count > MAX_REPEAT // size then error("string.rep: the result is larger than 16 MiB", 2) end
  end
  return checked(pcall(srep, s, count, separator))
end

function S.string.format(template, ...)
  if type(template) == "string" and sfind(template, "%%[^%a%%]*p") then
    error("string.format: '%p' is not available to spells", 2)
  end
  local values = tpack(...)
  for i = 1, values.n do
    local kind = type(values[i])
    if kind ~= "string" and kind ~= "number" then values[i] = S.tostring(values[i]) end
  end
  return checked(pcall(sformat, template, tunpack(values, 1, values.n)))
end

local strings = raw_metatable("")
strings.__index, strings.__metatable = S.string, "string"

---------------------------------------------------------------- time

-- The time of the last result the script was given: the same when a cast is repeated.
function S.now()
  tasks.refuse_loading("now")
  return tasks.now
end

local started = 0.0

S.os = { difftime = function(a, b) return (a - (b or 0)) + 0.0 end }

function S.os.time(date)
  if date ~= nil then return checked(pcall(os_time, date)) end
  tasks.refuse_loading("os.time")
  return floor(tasks.now)
end

function S.os.clock()
  tasks.refuse_loading("os.clock")
  return tasks.now - started
end

function S.os.date(format, time)
  if time == nil then tasks.refuse_loading("os.date") end
  return checked(pcall(os_date, format or "%c", time or floor(tasks.now)))
end

---------------------------------------------------------------- what a cast brings

local cast = { seed = "" }

local random = later("random", { "random", "math_random", "uuid" }, tasks, cast)
S.random, S.math.random, S.uuid = random.random, random.math_random, random.uuid

local modules = later("modules", { "require", "add" }, errors, tasks, S)
S.require = modules.require

local sandbox = { environment = S }

-- Takes what differs from cast to cast: the seed and the time.
function sandbox.prepare(context)
  cast.seed, started = context.seed or "", context.now or 0.0
  tasks.now = started
end

-- Takes modules that `require` is to find; one that it knows stays as it is.
function sandbox.add_modules(sources, directory)
  if next(sources) ~= nil then modules.add(sources, directory) end
end

return sandbox
