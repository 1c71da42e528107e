-- What a failure looks like in the author's code, and where it was.
--
-- A host failure is a table {code, message, hint, data, where} that can be caught and read. An
-- uncaught error becomes a plain object with the author's file and line: see reports.lua.
local type, tostring, rawget, setmetatable = type, tostring, rawget, setmetatable
local next, load, error = next, load, error
local sbyte, sfind, smatch = string.byte, string.find, string.match
local getinfo, raw_metatable = debug.getinfo, debug.getmetatable

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
  e.where = e.where or author_place() or errors.definition(fallback, what)
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

-- What reports are made with.
errors.inside = {
  files = files, texts = texts, codes = codes, HOST_ERROR = HOST_ERROR,
  place = place, is_author = is_author, author_place = author_place,
}

return errors
