-- JSON text for authors: json.encode and json.decode. Keys come out sorted.
local codec = ...
local type, next, tonumber, rawget, rawequal = type, next, tonumber, rawget, rawequal
local setmetatable = setmetatable
local error, pcall = error, pcall
local sbyte, ssub, sfind, sformat = string.byte, string.sub, string.find, string.format
local sgsub, smatch = string.gsub, string.match
local concat = table.concat
local mtype, huge, utf8len, utf8char = math.type, math.huge, utf8.len, utf8.char
local raw_metatable = debug.getmetatable
local ARRAY, OBJECT, BLOB, null = codec.ARRAY, codec.OBJECT, codec.BLOB, codec.null
local MAX_DEPTH = codec.MAX_DEPTH

---------------------------------------------------------------- encode

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }
local function escaped(c) return escapes[c] or sformat("\\u%04x", sbyte(c)) end

local function refuse(what) error({ problem = what }, 0) end

local function quoted(s)
  if not utf8len(s) then refuse("text that is not valid UTF-8") end
  if sfind(s, '[\0-\31"\\]') then s = sgsub(s, '[\0-\31"\\]', escaped) end
  return '"' .. s .. '"'
end

local function float(v)
  if v ~= v or v == huge or v == -huge then refuse("a number that is not finite") end
  for digits = 15, 17 do
    local s = sformat("%." .. digits .. "g", v)
    if digits == 17 or tonumber(s) == v then
      return sfind(s, "[.e]") and s or s .. ".0"
    end
  end
end

local function write(v, out, n, depth)
  local kind = type(v)
  if kind == "string" then out[n + 1] = quoted(v)
  elseif kind == "number" then out[n + 1] = mtype(v) == "integer" and sformat("%d", v) or float(v)
  elseif kind == "boolean" then out[n + 1] = v and "true" or "false"
  elseif kind == "nil" or rawequal(v, null) then out[n + 1] = "null"
  elseif kind ~= "table" or raw_metatable(v) == BLOB then refuse("a " .. (kind == "table" and "blob" or kind))
  elseif depth >= MAX_DEPTH then refuse("a table nested more than 100 levels deep, or inside itself")
  else
    local length, keys = codec.shape(v, refuse)
    if length == 0 then
      out[n + 1] = "[]"
    elseif length then
      for i = 1, length do
        out[n + 1] = i == 1 and "[" or ","
        n = write(rawget(v, i), out, n + 1, depth + 1)
      end
      out[n + 1] = "]"
    elseif #keys == 0 then
      out[n + 1] = "{}"
    else
      for i = 1, #keys do
        out[n + 1] = (i == 1 and "{" or ",") .. quoted(keys[i]) .. ":"
        n = write(rawget(v, keys[i]), out, n + 1, depth + 1)
      end
      out[n + 1] = "}"
    end
  end
  return n + 1
end

---------------------------------------------------------------- decode

local unescape = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

local function bad(at, what) error({ problem = sformat("byte %d: %s", at, what) }, 0) end

local function skip(s, at) return sfind(s, "[^ \n\r\t]", at) or bad(#s + 1, "the text ends too early") end

local function code_point(s, at) -- at: the first of four hexadecimal digits
  return tonumber(smatch(s, "^%x%x%x%x", at) or bad(at, "\\u needs four hexadecimal digits"), 16)
end

local function read_string(s, at) -- at: after the opening quote
  local parts, n = {}, 0
  while true do
    local stop = sfind(s, '[\0-\31"\\]', at) or bad(at, "a text is not closed")
    local c = sbyte(s, stop)
    if c == 34 and n == 0 then return ssub(s, at, stop - 1), stop + 1 end
    n = n + 1
    parts[n] = ssub(s, at, stop - 1)
    if c == 34 then return concat(parts), stop + 1 end
    if c ~= 92 then bad(stop, "a control character inside a text") end
    n = n + 1
    local letter = ssub(s, stop + 1, stop + 1)
    at = stop + 2
    if letter == "u" then
      local point = code_point(s, at)
      at = at + 4
      if point >= 0xD800 and point < 0xDC00 and ssub(s, at, at + 1) == "\\u" then
        local low = code_point(s, at + 2)
        if low >= 0xDC00 and low < 0xE000 then
          point = 0x10000 + (point - 0xD800) * 0x400 + (low - 0xDC00)
          at = at + 6
        end
      end
      parts[n] = utf8char((point >= 0xD800 and point < 0xE000) and 0xFFFD or point)
    else
      parts[n] = unescape[letter] or bad(stop, "an unknown escape")
    end
  end
end

local function read_number(s, at)
  local _, last = sfind(s, "^-?%d+", at)
  if not last or sfind(s, "^-?0%d", at) then bad(at, "an unexpected character") end
  local whole = true
  for _, pattern in next, { "^%.%d+", "^[eE][+-]?%d+" } do
    local _, stop = sfind(s, pattern, last + 1)
    if stop then last, whole = stop, false end
  end
  local v = tonumber(ssub(s, at, last))
  if whole and mtype(v) ~= "integer" then bad(at, "an integer needs more than 64 bits; write it as text") end
  return v, last + 1
end

local read

local function read_object(s, at, depth)
  local t = setmetatable({}, OBJECT)
  at = skip(s, at)
  if sbyte(s, at) == 125 then return t, at + 1 end
  while true do
    if sbyte(s, at) ~= 34 then bad(at, "a name in quotes was expected") end
    local key, v
    key, at = read_string(s, at + 1)
    at = skip(s, at)
    if sbyte(s, at) ~= 58 then bad(at, "':' was expected") end
    v, at = read(s, at + 1, depth)
    if not rawequal(v, null) then t[key] = v end
    at = skip(s, at)
    local c = sbyte(s, at)
    if c == 125 then return t, at + 1 end
    if c ~= 44 then bad(at, "',' or '}' was expected") end
    at = skip(s, at + 1)
  end
end

local function read_array(s, at, depth)
  local t, n = setmetatable({}, ARRAY), 0
  at = skip(s, at)
  if sbyte(s, at) == 93 then return t, at + 1 end
  while true do
    n = n + 1
    t[n], at = read(s, at, depth)
    at = skip(s, at)
    local c = sbyte(s, at)
    if c == 93 then return t, at + 1 end
    if c ~= 44 then bad(at, "',' or ']' was expected") end
    at = at + 1
  end
end

function read(s, at, depth)
  if depth > MAX_DEPTH then bad(at, "nested more than 100 levels deep") end
  at = skip(s, at)
  local c = sbyte(s, at)
  if c == 34 then return read_string(s, at + 1) end
  if c == 123 then return read_object(s, at + 1, depth + 1) end
  if c == 91 then return read_array(s, at + 1, depth + 1) end
  if ssub(s, at, at + 3) == "true" then return true, at + 4 end
  if ssub(s, at, at + 4) == "false" then return false, at + 5 end
  if ssub(s, at, at + 3) == "null" then return null, at + 4 end
  return read_number(s, at)
end

---------------------------------------------------------------- what authors see

local function finish(what, ok, result)
  if ok then return result end
  if type(result) ~= "table" then error(result, 0) end -- out of memory
  return error(what .. result.problem, 3)
end

local json = { null = null }

function json.encode(value)
  local out = {}
  local n = finish("json.encode: cannot encode ", pcall(write, value, out, 0, 0))
  return concat(out, "", 1, n)
end

function json.decode(text)
  if type(text) ~= "string" then error("json.decode: a text was expected, got a " .. type(text), 2) end
  if not utf8len(text) then error("json.decode: the text is not valid UTF-8", 2) end
  local value = finish("json.decode: ", pcall(function()
    local v, at = read(text, 1, 0)
    if sfind(text, "[^ \n\r\t]", at) then bad(at, "the value ends before the text does") end
    return v
  end))
  if rawequal(value, null) then return nil end
  return value
end

-- Mark a table, so that an empty one is a list or an object on the other side.
function json.array(t) return setmetatable(t or {}, ARRAY) end
function json.object(t) return setmetatable(t or {}, OBJECT) end

return json
