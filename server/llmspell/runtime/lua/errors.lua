-- What a failure looks like: in the author's code, and in the report the host gets.
--
-- A host failure is a table {code, message, hint, data, where} that can be caught and read.
-- An uncaught error becomes a plain object with the author's file and line.
local codec, hints = ...
local type, tostring, rawget, setmetatable = type, tostring, rawget, setmetatable
local next, load, error = next, load, error
local sbyte, sfind, smatch, sgsub, ssub = string.byte, string.find, string.match, string.gsub, string.sub
local concat = table.concat
local tointeger = math.tointeger
local utf8len = utf8.len
local getinfo, raw_metatable = debug.getinfo, debug.getmetatable

local MAX_TEXT, MAX_FRAMES, MAX_LINE = 4000, 20, 1000
local DEEP = 10000 -- calls; nobody nests that deep on purpose
local OUT_OF_MEMORY = "not enough memory"

local errors = {
  main_file = nil,
  loaded = nil, -- told of each file and its function, where somebody wants to know
}

---------------------------------------------------------------- places

local files = {} -- the author's files by the short name Lua uses for them
local texts = {} -- and what is in them, by file

-- Registers a file of the author and returns the chunk name to load it under.
function errors.chunk_name(file)
  local chunk = "@" .. file
  -- Lua shortens long names in messages; ask it how.
  local short = getinfo(load("", chunk, "t"), "S").short_src
  files[short] = file
  return chunk
end

local function place(info) return files[info.short_src] .. ":" .. info.currentline end

local function is_author(info)
  return info.what ~= "C" and files[info.short_src] ~= nil and info.currentline > 0
end

-- Returns "file:line" of the innermost frame of the author on this stack, or nil.
-- A tail call leaves no frame behind, so there may be none.
local function author_place(thread)
  local level = thread and 0 or 2
  while true do
    local info
    if thread then info = getinfo(thread, level, "Sl") else info = getinfo(level, "Sl") end
    if not info then return nil end
    if is_author(info) then return place(info) end
    level = level + 1
  end
end

-- Returns the line in the main file from which the running code was called, or nil.
function errors.main_line()
  local level = 2
  while true do
    local info = getinfo(level, "Sl")
    if not info then return nil end
    if is_author(info) and files[info.short_src] == errors.main_file then return info.currentline end
    level = level + 1
  end
end

-- Goes through lines of a file, giving number and text; lines too long to be read are skipped.
local function lines(file, first, last)
  local text, at, number = texts[file], 1, 0
  return function()
    while text and at and number < last do
      local stop = sfind(text, "\n", at, true)
      local start = at
      number, at = number + 1, stop and stop + 1
      local length = (stop or #text + 1) - start
      if number >= first and length <= MAX_LINE then return number, ssub(text, start, start + length - 1) end
    end
    return nil
  end
end

-- Returns the place of a function: where it calls `what` last, if only one line can be that,
-- else where it begins. For calls of the form `return what(...)`, which leave no frame behind.
local function definition(fn, what)
  local info = fn and getinfo(fn, "S")
  local file = info and files[info.short_src]
  if not file then return nil end
  local name, found = what and smatch(what, "[%w_]+$"), nil
  if name then
    local pattern = "%f[%w_]return%f[^%w_].*%f[%w_]" .. name .. "%f[^%w_]"
    for number, line in lines(file, info.linedefined, info.lastlinedefined) do
      if sfind(line, pattern) then
        if found then found = nil break end
        found = number
      end
    end
  end
  return file .. ":" .. (found or (info.linedefined > 0 and info.linedefined or 1))
end

local function frame(info, caller)
  local name
  if info.what == "main" then
    name = "in the file itself"
  elseif info.name and caller and files[caller.short_src] then -- not a name of the kernel's
    name = "in " .. info.name
  else
    name = "in the function of line " .. info.linedefined
  end
  return place(info) .. ": " .. name
end

-- Returns the author's frames of a stopped thread, innermost first, one a line.
local function trace(thread)
  local lines, level = {}, 0
  while #lines < MAX_FRAMES do
    local info = getinfo(thread, level, "Sln")
    if not info then break end
    if is_author(info) then lines[#lines + 1] = frame(info, getinfo(thread, level + 1, "S")) end
    level = level + 1
  end
  return #lines > 0 and concat(lines, "\n") or nil
end

-- Splits "file:line: message"; returns nil and the message when it has no known place.
function errors.split(message)
  local short, line, rest = smatch(message, "^(.-):(%d+): (.*)$")
  if short and files[short] then return files[short] .. ":" .. line, rest end
  -- The kernel is compiled without line numbers.
  return nil, smatch(message, "^%?:%-1: (.*)$") or message
end

---------------------------------------------------------------- host failures

local codes = setmetatable({}, { __mode = "k" }) -- the catalogue's code, whatever the author writes to e.code

local function shown(e)
  return (e.where and tostring(e.where) .. ": " or "") .. tostring(e.message) .. " {code: " .. tostring(codes[e]) .. "}"
end

local HOST_ERROR = {
  __name = "error",
  __metatable = "error",
  __tostring = shown,
  __concat = function(a, b) return tostring(a) .. tostring(b) end,
}

-- Returns a catchable error. `fields` is {code, message, hint, data, where}; the place of the
-- author's call is filled in when `where` is absent.
function errors.new(fields, fallback, what)
  local e = {}
  for key, value in next, fields do e[key] = value end
  e.where = e.where or author_place() or definition(fallback, what)
  codes[e] = type(e.code) == "string" and e.code or "internal"
  return setmetatable(e, HOST_ERROR)
end

function errors.is_host(e) return raw_metatable(e) == HOST_ERROR end

-- Returns what `new` makes the same error of again.
function errors.fields(e)
  local fields = {}
  for _, name in next, { "message", "hint", "data", "where" } do fields[name] = rawget(e, name) end
  fields.code = codes[e]
  return fields
end

function errors.is_out_of_memory(e) return e == OUT_OF_MEMORY end

-- Returns a file of the author as a function, with `environment` as its globals.
function errors.load(file, source, environment)
  if sbyte(source, 1) == 27 then
    error(errors.new({ code = "spec.syntax", message = "this is bytecode; spells are text", where = file .. ":1" }), 0)
  end
  -- A variable to be closed keeps `return Spell.create{}` from being a tail call, which would
  -- leave no frame to take its line from.
  local guarded = "local _llmspell_frame <close> = nil; " .. source
  texts[file] = source
  local chunk, problem = load(guarded, errors.chunk_name(file), "t", environment)
  if chunk then
    if errors.loaded then errors.loaded(file, chunk) end
    return chunk
  end
  local where, message = errors.split(problem)
  error(errors.new({ code = "spec.syntax", message = message, where = where or file .. ":1" }), 0)
end

-- Returns what a value is, in words.
function errors.described(value)
  if value == nil then return "nothing" end
  return (sfind(type(value), "^[aeiou]") and "an " or "a ") .. type(value)
end

---------------------------------------------------------------- reports

local function text(value)
  local s
  if type(value) == "string" then
    s = value
  elseif type(value) == "number" or type(value) == "boolean" then
    s = tostring(value)
  else
    return nil
  end
  if #s > MAX_TEXT then s = ssub(s, 1, MAX_TEXT) .. "..." end
  if not utf8len(s) then s = sgsub(s, "[\128-\255]", "?") end
  return s
end

local function encodable(value)
  if value ~= nil and codec.encode(value) then return value end
  return nil
end

-- Returns the report of error `e` of a stopped thread.
-- `code` is what an error of the author's own is called; `fn` the function that was called.
function errors.report(thread, e, code, fn)
  local report = { traceback = trace(thread) }
  local kind = raw_metatable(e)
  if kind == HOST_ERROR then
    report.code = codes[e]
    report.message = text(rawget(e, "message")) or ""
    report.hint = text(rawget(e, "hint"))
    report.where = text(rawget(e, "where"))
    report.data = encodable(rawget(e, "data"))
  elseif type(e) == "table" then
    local own, data = text(rawget(e, "code")), encodable(rawget(e, "data"))
    report.code = code
    report.message = text(rawget(e, "message")) or "an error table without a message"
    report.hint = text(rawget(e, "hint"))
    if own or data ~= nil then report.data = { code = own, data = data } end
  elseif type(e) == "string" then
    report.code = code
    report.where, report.message = errors.split(e)
    local file, line = smatch(report.where or "", "^(.*):(%d+)$")
    if file then
      local number = tointeger(line)
      for _, line in lines(file, number, number) do report.hint = hints.of(report.message, line) end
    end
    report.message = text(report.message)
  else
    report.code = code
    report.message = text(e) or "the error is a " .. type(e) .. ", not a message"
  end
  report.where = report.where or author_place(thread) or definition(fn)
  return report
end

-- Returns the report of a script that asked for more than `limit` effects; `thread` asked last.
function errors.limit_report(thread, limit, fn)
  local report = errors.report(thread, "", "limit.exceeded", fn)
  report.message = "the script asked for more than " .. limit .. " effects"
  report.hint = "do more at once, or raise the setting limits.host_calls"
  report.data = { limit = "limits.host_calls" }
  return report
end

-- Returns the report of a script that ran out of memory; `thread` is nil when the kernel did.
function errors.memory_report(thread, fn)
  local report = { code = "limit.memory" }
  if thread then report = errors.report(thread, OUT_OF_MEMORY, report.code, fn) end
  report.message = "the script needs more memory than it may use"
  if thread and getinfo(thread, DEEP, "l") then
    report.message = report.message .. ": its calls nest more than " .. DEEP .. " deep"
    report.hint = "look for a function that calls itself without end"
  end
  return report
end

return errors
