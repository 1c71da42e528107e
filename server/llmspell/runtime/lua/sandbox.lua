-- The environment of a spell: what of Lua's library it gets, and what differs from plain Lua.
--
-- Not here: debug, io, load, dofile, collectgarbage, package, and all of os but time. Iteration
-- order, time and random numbers are the same in every process that runs the same cast.
local errors, tasks, callbacks = ...
local type, next, error, pcall, tostring, rawget = type, next, error, pcall, tostring, rawget
local setmetatable, getmetatable, xpcall = setmetatable, getmetatable, xpcall
local sbyte, sfind, sformat, srep = string.byte, string.find, string.format, string.rep
local sgsub = string.gsub
local sort, tpack, tunpack = table.sort, table.pack, table.unpack
local floor, mtype, ult = math.floor, math.type, math.ult
local os_date, os_time = os.date, os.time
local raw_metatable = debug.getmetatable

local MAX_REPEAT = 16 << 20 -- bytes string.rep may make at once

local function pick(library, names)
  local t = {}
  for i = 1, #names do t[names[i]] = library[names[i]] end
  return t
end

local S = pick(_G, { "assert", "error", "ipairs", "pcall", "rawequal", "rawget", "rawlen", "rawset", "select", "tonumber", "type", "_VERSION" })
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
S.coroutine = tasks.coroutines
S.table.sort, S.string.gsub = callbacks.sort, callbacks.gsub

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
    if count > MAX_REPEAT // size then error("string.rep: the result is too large", 2) end
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

---------------------------------------------------------------- random

local seed = ""

-- A number stream (SplitMix64) of its own for each scope of a task and use. Not for secrets.
local function stream(name)
  local state = 0xcbf29ce484222325 -- FNV-1a over everything that names the stream
  local text = seed .. "\0" .. tasks.current.scope.path .. "\0" .. name
  for i = 1, #text do state = (state ~ sbyte(text, i)) * 0x100000001b3 end
  return function()
    state = state + 0x9e3779b97f4a7c15
    local z = state
    z = (z ~ (z >> 30)) * 0xbf58476d1ce4e5b9
    z = (z ~ (z >> 27)) * 0x94d049bb133111eb
    return z ~ (z >> 31)
  end
end

local function draw(name)
  local scope = tasks.current.scope
  local streams = scope.streams
  if not streams then
    streams = {}
    scope.streams = streams
  end
  if not streams[name] then streams[name] = stream(name) end
  return streams[name]()
end

local function random(what, low, high)
  tasks.refuse_loading(what)
  if low == nil then return (draw("random") >> 11) * (0.5 ^ 53) end
  if high == nil then
    if low == 0 then return draw("random") end
    low, high = 1, low
  end
  low, high = S.math.tointeger(low), S.math.tointeger(high)
  if not low or not high then error(what .. ": whole numbers were expected", 3) end
  if low > high then error(what .. ": the interval is empty", 3) end
  local span = high - low -- as an unsigned number
  local mask = span
  for shift = 0, 5 do mask = mask | (mask >> (1 << shift)) end
  while true do
    local value = draw("random") & mask
    if not ult(span, value) then return low + value end
  end
end

function S.random(low, high) return (random("random", low, high)) end
function S.math.random(low, high) return (random("math.random", low, high)) end

function S.uuid()
  tasks.refuse_loading("uuid")
  local a, b = draw("uuid.high"), draw("uuid.low")
  return (sformat("%08x-%04x-4%03x-%04x-%012x",
    (a >> 32) & 0xffffffff, (a >> 16) & 0xffff, a & 0xfff,
    ((b >> 48) & 0x3fff) | 0x8000, b & 0xffffffffffff))
end

---------------------------------------------------------------- modules

local LOADING = {} -- marks a module whose top level is running
local sources, loaded, chain = {}, {}, {}

function S.require(name)
  if type(name) ~= "string" then error("require: the name of a module was expected, got a " .. type(name), 2) end
  local value = loaded[name]
  if value == LOADING then
    local circle = name
    for i = #chain, 1, -1 do
      circle = chain[i] .. " -> " .. circle
      if chain[i] == name then break end
    end
    error("require: modules need each other: " .. circle, 2)
  end
  if value ~= nil then return value end
  local source = sources[name]
  if not source then error("require: there is no module '" .. name .. "' in this project", 2) end
  local chunk = errors.load(source.file, source.text, S)
  loaded[name] = LOADING
  chain[#chain + 1] = name
  local ok, result = pcall(tasks.sealed, "the top level of module '" .. name .. "'", "call it from a function", chunk, name)
  chain[#chain] = nil
  if not ok then
    loaded[name] = nil
    error(result, 0)
  end
  if result == nil then result = true end
  loaded[name] = result
  return result
end

---------------------------------------------------------------- for the kernel

local sandbox = { environment = S }

-- Takes what differs from cast to cast: the seed, the time and the project's modules.
function sandbox.prepare(context, modules, directory)
  seed, started = context.seed or "", context.now or 0.0
  tasks.now = started
  sandbox.add_modules(modules or {}, directory)
end

-- Takes modules that `require` is to find; one that it knows stays as it is.
function sandbox.add_modules(modules, directory)
  for name, text in next, modules do
    sources[name] = sources[name] or { text = text, file = directory .. sgsub(name, "%.", "/") .. ".lua" }
  end
end

return sandbox
