-- MessagePack between a script and its host, and the kinds of table that JSON tells apart.
--
-- Tables are read raw, so no metamethod of the author ever runs here. Equal values give equal
-- bytes in every process: map keys are sorted, numbers take their shortest form.
local type, next, rawget, rawlen, rawequal = type, next, rawget, rawlen, rawequal
local pcall, error, setmetatable = pcall, error, setmetatable
local schar, sbyte, ssub, sfind, sformat = string.char, string.byte, string.sub, string.find, string.format
local spack, sunpack = string.pack, string.unpack
local concat, sort = table.concat, table.sort
local mtype, huge, utf8len = math.type, math.huge, utf8.len
local raw_metatable = debug.getmetatable

local MAX_DEPTH = 100
local MAX_READ_DEPTH = MAX_DEPTH + 4 -- a value stands inside lists and objects of its message
local FUNCTION, BLOB_CODE = 1, 2 -- extension codes, see runtime/wire.py

local ARRAY = { __name = "array", __metatable = "array" }
local OBJECT = { __name = "object", __metatable = "object" }
local BLOB = { __name = "blob", __metatable = "blob" } -- { bytes }: binary data, base64 text on the other side
local null = setmetatable({}, {
  __name = "null",
  __metatable = "null",
  __tostring = function() return "null" end,
  __newindex = function() error("json.null is read-only", 2) end,
})

---------------------------------------------------------------- shape of a table

-- Returns the length of a list, or nil and the sorted keys of an object.
-- Anything else is refused through `refuse(what)`, which does not return.
local function shape(value, refuse)
  local kind, length = raw_metatable(value), rawlen(value)
  if kind == ARRAY or (kind ~= OBJECT and length > 0) then
    local count = 0
    for key in next, value do
      if mtype(key) ~= "integer" then refuse("a table that mixes list items and named fields") end
      count = count + 1
    end
    if count ~= length then refuse("a list with holes (write json.null where nothing is)") end
    return length
  end
  local keys, n = {}, 0
  for key in next, value do
    if type(key) ~= "string" then
      if type(key) == "number" then refuse("a list with holes, or a table with numbers as names") end
      refuse("a table with a " .. type(key) .. " as a name")
    end
    n = n + 1
    keys[n] = key
  end
  sort(keys)
  return nil, keys
end

-- Returns the fields of a table in a new one without a metatable.
local function copy(fields)
  local t = {}
  for key, value in next, fields do t[key] = value end
  return t
end

---------------------------------------------------------------- writing

local functions, number_of = {}, {} -- functions the host may call, by number, and the reverse
local out, n, path, level, with_functions, declared

local function refuse_at(depth, what)
  local place = ""
  for i = 1, depth do
    local key = path[i]
    place = place .. (type(key) == "number" and sformat("[%d]", key) or (i > 1 and "." or "") .. key)
  end
  error({ problem = (place ~= "" and place .. ": " or "") .. what }, 0)
end

local function refuse(what) refuse_at(level, what) end

local function integer(v)
  if v >= 0 then
    if v < 0x80 then return schar(v) end
    if v < 0x100 then return spack(">BB", 0xcc, v) end
    if v < 0x10000 then return spack(">BI2", 0xcd, v) end
    if v < 0x100000000 then return spack(">BI4", 0xce, v) end
    return spack(">Bi8", 0xcf, v)
  end
  if v >= -0x20 then return schar(v + 0x100) end
  if v >= -0x80 then return spack(">Bi1", 0xd0, v) end
  if v >= -0x8000 then return spack(">Bi2", 0xd1, v) end
  if v >= -0x80000000 then return spack(">Bi4", 0xd2, v) end
  return spack(">Bi8", 0xd3, v)
end

local function sized(length, fixed, fixed_limit, code16, code32)
  if length < fixed_limit then return schar(fixed + length) end
  if length < 0x10000 then return spack(">BI2", code16, length) end
  return spack(">BI4", code32, length)
end

local HEADS = {} -- of short texts, by length: most texts are short
for length = 0, 31 do HEADS[length] = schar(0xa0 + length) end

local function text_header(length)
  if length < 0x20 then return HEADS[length] end
  if length < 0x100 then return schar(0xd9, length) end
  return sized(length, 0xa0, 0x20, 0xda, 0xdb)
end

local function array_header(length) return sized(length, 0x90, 16, 0xdc, 0xdd) end

local function write(v, depth)
  local kind = type(v)
  if kind == "string" then
    if not utf8len(v) then refuse_at(depth, "text that is not valid UTF-8") end
    out[n + 1], out[n + 2] = text_header(#v), v
    n = n + 2
  elseif kind == "number" then
    n = n + 1
    if mtype(v) == "integer" then
      out[n] = integer(v)
    else
      if v ~= v or v == huge or v == -huge then refuse_at(depth, "a number that is not finite") end
      out[n] = spack(">Bd", 0xcb, v)
    end
  elseif kind == "boolean" then
    n = n + 1
    out[n] = v and "\xc3" or "\xc2"
  elseif kind == "nil" or rawequal(v, null) then
    n = n + 1
    out[n] = "\xc0"
  elseif kind == "function" and with_functions then
    local number = number_of[v]
    if not number then
      number = #functions + 1
      functions[number], number_of[v] = v, number
    end
    n = n + 1
    out[n] = spack(">BBI4", 0xd6, FUNCTION, number)
  elseif kind ~= "table" then
    refuse_at(depth, "a " .. kind)
  elseif raw_metatable(v) == BLOB then
    out[n + 1], out[n + 2] = spack(">BI4B", 0xc9, #v[1], BLOB_CODE), v[1]
    n = n + 2
  else
    if depth >= MAX_DEPTH then refuse_at(3, "a table nested more than 100 levels deep, or inside itself") end
    level = depth
    local length, keys = shape(v, refuse)
    depth = depth + 1
    if length then
      n = n + 1
      out[n] = array_header(length)
      for i = 1, length do
        path[depth] = i
        write(rawget(v, i), depth)
      end
      return
    end
    n = n + 1
    out[n] = sized(#keys, 0x80, 16, 0xde, 0xdf)
    for i = 1, #keys do
      local key = keys[i]
      path[depth] = key
      if not utf8len(key) then
        path[depth] = "?"
        refuse_at(depth, "text that is not valid UTF-8")
      end
      if depth == 1 and declared then with_functions = key == declared end
      out[n + 1], out[n + 2] = text_header(#key), key
      n = n + 2
      write(rawget(v, key), depth)
    end
  end
end

-- Returns the value as bytes, or nil and what cannot be encoded where.
-- `functions_in` says where functions may stand: true = anywhere, a name = in that field only.
local function encode(value, functions_in)
  out, n, path = {}, 0, {}
  with_functions = functions_in == true
  declared = functions_in ~= true and functions_in or nil
  local ok, problem = pcall(write, value, 0)
  local parts = out
  out, path = nil, nil
  if ok then return concat(parts, "", 1, n) end
  if type(problem) ~= "table" then error(problem, 0) end -- out of memory
  return nil, problem.problem
end

---------------------------------------------------------------- reading

local source, position, problem

local read

local function take(length)
  local first = position
  position = first + length
  return ssub(source, first, position - 1)
end

local function array(length, depth)
  if depth > MAX_READ_DEPTH then problem = "it is nested more than 100 levels deep" end
  local t = setmetatable({}, ARRAY)
  for i = 1, length do t[i] = read(depth) end
  return t
end

local function map(length, depth)
  if depth > MAX_READ_DEPTH then problem = "it is nested more than 100 levels deep" end
  local t = setmetatable({}, OBJECT)
  for _ = 1, length do
    local key = read(depth)
    local v = read(depth)
    if not rawequal(v, null) then t[key] = v end
  end
  return t
end

-- Codes that are followed by a number or by a length: format and size of that.
local FORMATS = {
  [0xc4] = ">I1", [0xc5] = ">I2", [0xc6] = ">I4", [0xc9] = ">I4", [0xca] = ">f", [0xcb] = ">d",
  [0xcc] = ">I1", [0xcd] = ">I2", [0xce] = ">I4", [0xcf] = ">i8",
  [0xd0] = ">i1", [0xd1] = ">i2", [0xd2] = ">i4", [0xd3] = ">i8",
  [0xd9] = ">I1", [0xda] = ">I2", [0xdb] = ">I4",
  [0xdc] = ">I2", [0xdd] = ">I4", [0xde] = ">I2", [0xdf] = ">I4",
}

local function read_rest(byte, depth)
  if byte == 0xc0 then return null end
  if byte == 0xc2 or byte == 0xc3 then return byte == 0xc3 end
  local v
  v, position = sunpack(FORMATS[byte], source, position)
  if byte >= 0xde then return map(v, depth) end
  if byte >= 0xdc then return array(v, depth) end
  if byte == 0xc9 then
    position, problem = position + 1 + v, "binary data; make it text first"
    return null
  end
  if byte >= 0xd9 or byte < 0xca then return take(v) end
  if byte == 0xcf and v < 0 then problem = "an integer needs more than 64 bits; pass it as text" end
  return v
end

function read(depth)
  local byte = sbyte(source, position)
  position = position + 1
  if byte < 0x80 then return byte end
  if byte >= 0xe0 then return byte - 0x100 end
  if byte >= 0xa0 and byte < 0xc0 then return take(byte - 0xa0) end
  if byte < 0x90 then return map(byte - 0x80, depth + 1) end
  if byte < 0xa0 then return array(byte - 0x90, depth + 1) end
  return read_rest(byte, depth + 1)
end

-- Returns the messages of a frame, and by index what could not be represented in them.
local function read_frame(frame)
  source, position = frame, 2
  local byte = sbyte(frame)
  local count = byte - 0x90
  if byte >= 0xdc then count, position = sunpack(FORMATS[byte], frame, position) end
  local messages, problems = {}, {}
  for i = 1, count do
    problem = nil
    messages[i] = read(-1) -- the message's own list does not count as a level
    problems[i] = problem
  end
  source = nil
  return messages, problems
end

-- Returns a value as it is after a way to the host and back, or nil and why it has none.
local function plain(value)
  local bytes, wrong = encode(value)
  if not bytes then return nil, wrong end
  local messages, problems = read_frame("\x91" .. bytes)
  if problems[1] then return nil, problems[1] end
  local found = messages[1]
  if rawequal(found, null) then found = nil end
  return found
end

return {
  ARRAY = ARRAY,
  OBJECT = OBJECT,
  BLOB = BLOB,
  MAX_DEPTH = MAX_DEPTH,
  null = null,
  functions = functions,
  shape = shape,
  copy = copy,
  encode = encode,
  plain = plain,
  read_frame = read_frame,
  integer = integer,
  array_header = array_header,
}
