-- The report of a failure that the host gets: what, where in the author's files, and what may be meant.
local codec, hints, errors = ...
local type, tostring, rawget = type, tostring, rawget
local sfind, smatch, sgsub, ssub = string.find, string.match, string.gsub, string.sub
local concat = table.concat
local tointeger = math.tointeger
local utf8len = utf8.len
local getinfo, raw_metatable = debug.getinfo, debug.getmetatable
local own = errors.inside
local files, texts, codes, HOST_ERROR = own.files, own.texts, own.codes, own.HOST_ERROR
local place, is_author, author_place = own.place, own.is_author, own.author_place

local MAX_TEXT, MAX_FRAMES, MAX_LINE = 4000, 20, 1000
local DEEP = 10000 -- calls; nobody nests that deep on purpose
local OUT_OF_MEMORY = "not enough memory"

local reports = {}

---------------------------------------------------------------- places

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
function reports.definition(fn, what)
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
function reports.report(thread, e, code, fn)
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
    report.where = report.where or author_place(thread) -- a function of C tells no place
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
  report.where = report.where or author_place(thread) or reports.definition(fn)
  return report
end

-- Returns the report of a script that asked for more than `limit` effects; `thread` asked last.
function reports.limit_report(thread, limit, fn)
  local report = reports.report(thread, "", "limit.exceeded", fn)
  report.message = "the script asked for more than " .. limit .. " effects"
  report.hint = "do more at once, or raise the setting limits.host_calls"
  report.data = { limit = "limits.host_calls" }
  return report
end

-- Returns the report of a script that ran out of memory; `thread` is nil when the kernel did.
function reports.memory_report(thread, fn)
  local report = { code = "limit.memory" }
  if thread then report = reports.report(thread, OUT_OF_MEMORY, report.code, fn) end
  report.message = "the script needs more memory than it may use"
  if thread and getinfo(thread, DEEP, "l") then
    report.message = report.message .. ": its calls nest more than " .. DEEP .. " deep"
    report.hint = "look for a function that calls itself without end"
  end
  return report
end

return reports
