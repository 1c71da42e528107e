-- What an author probably meant, where Lua only says that something is nil.
--
-- It looks at names of the API and at the failing line; it never calls or changes anything.
local type, next, rawget = type, next, rawget
local smatch, sgmatch, sgsub, slower = string.match, string.gmatch, string.gsub, string.lower
local ssub, sbyte = string.sub, string.byte
local sort, concat, min = table.sort, table.concat, math.min

local MAX_NAME, MAX_NAMES = 40, 200 -- longer names and larger tables get no hint

local known = ... -- `environment`: the globals of a spell; `methods()`: what values of the API have, by kind
local hints = {}

-- What plain Lua has and spells do not, with what to use instead.
local ABSENT = {
  bit32 = "write & | ~ << >>",
  collectgarbage = "memory needs no help",
  debug = "spells have no debug library",
  dofile = "write require",
  io = "spells reach no files",
  load = "spells cannot make code while they run",
  loadfile = "write require",
  loadstring = "spells cannot make code while they run",
  package = "write require",
  unpack = "write table.unpack",
}

-- The same for members of Lua's libraries.
local ABSENT_MEMBERS = {
  ["os.execute"] = "spells start no programs",
  ["os.exit"] = "return, or raise an error",
  ["os.getenv"] = "spells see no environment: pass it in as input",
  ["os.remove"] = "spells reach no files",
  ["os.rename"] = "spells reach no files",
  ["os.tmpname"] = "spells reach no files",
}

-- Globals that are arguments of `run`.
local ARGUMENTS = {
  ctx = "take it as the second argument: run = function(input, ctx)",
  input = "take it as the first argument: run = function(input)",
}

---------------------------------------------------------------- closeness

-- Returns how many letters must be changed, left out, put in or swapped.
local function distance(a, b)
  local before, last, row = {}, {}, nil
  for j = 0, #b do last[j] = j end
  for i = 1, #a do
    row = { [0] = i }
    for j = 1, #b do
      local same = sbyte(a, i) == sbyte(b, j)
      local cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and sbyte(a, i) == sbyte(b, j - 1) and sbyte(a, i - 1) == sbyte(b, j) then
        cost = min(cost, before[j - 2] + 1)
      end
      row[j] = cost
    end
    before, last = last, row
  end
  return last[#b]
end

local function names_of(t)
  local names = {}
  for name in next, t do
    if type(name) == "string" and #name <= MAX_NAME then names[#names + 1] = name end
    if #names > MAX_NAMES then return {} end
  end
  sort(names)
  return names
end

-- Returns the name most like `name`, or nil when none is like it.
local function closest(name, names)
  local best, least = nil, (#name + 1) // 3
  if #name < 3 then least = 0 end
  for i = 1, #names do
    local other = names[i]
    local away = distance(slower(name), slower(other))
    local shorter = min(#name, #other)
    if shorter >= 3 and ssub(name, 1, shorter) == ssub(other, 1, shorter) then away = min(away, 1) end
    if away < least or (away == least and not best) then best, least = other, away end
  end
  return best
end

local function suggestion(name, names)
  local meant = closest(name, names)
  return meant and "did you mean '" .. meant .. "'?"
end

---------------------------------------------------------------- hints

-- Returns the table of the API that `path`, such as State.user, stands for.
local function resolved(path)
  local found = known.environment
  for name in sgmatch(path, "[^%.]+") do
    if type(found) ~= "table" then return nil end
    found = rawget(found, name)
  end
  return type(found) == "table" and found or nil
end

local function of_member(name, kind, line)
  local owner = smatch(line, "([%a_][%w_%.]*)%s*[%.:]%s*" .. name .. "%f[^%w_]")
  local absent = owner and ABSENT_MEMBERS[owner .. "." .. name]
  if absent then return absent end
  local all = known.methods()
  local api = owner and (all[owner] or resolved(owner))
  if api then
    local names = names_of(api)
    if #names == 0 then return nil end
    return suggestion(name, names) or owner .. " has: " .. concat(names, ", ")
  end
  if kind ~= "method" then return nil end
  local names = {}
  for _, methods in next, all do
    local own = names_of(methods)
    for i = 1, #own do names[#names + 1] = own[i] end
  end
  sort(names)
  return suggestion(name, names)
end

-- Returns a hint for a value without a name that is nil, or nil.
local function of_nameless(line)
  local called = smatch(line, "([%a_][%w_%.:]*)%s*%b()%s*[%.:%[]")
    or smatch(line, "([%a_][%w_%.:]*)%s*%b\"\"%s*[%.:%[]")
  if called and #called <= MAX_NAME then return "'" .. called .. "' gave nil: look at what it gives before you use it" end
  return nil
end

-- Returns a hint for a value of the wrong type where Lua computes, or nil.
local function of_computing(message, line)
  local left, right = smatch(message, "^attempt to %a+ a '(%a+)' with a '(%a+)'$")
  if left == "string" and right == "string" then return "texts are joined with .." end
  if left == "string" or right == "string" then return "a text is no number: write tonumber(text)" end
  local act, field = smatch(message, "^attempt to ([%a ]+) a nil value %(field '([%a_][%w_]*)'%)$")
  local path = field and #field <= MAX_NAME and smatch(line, "([%a_][%w_%.]*%." .. field .. ")%f[^%w_]")
  if path and #path <= MAX_NAME then
    return "where it may be absent, write (" .. path .. (act == "concatenate" and ' or "")' or " or 0)")
  end
  return nil
end

-- Returns a hint for a message of Lua and the line it names, or nil.
function hints.of(message, line)
  if message == "attempt to index a nil value" then return of_nameless(line) end
  if message == "stack overflow" then return "a function calls itself without end" end
  local module = smatch(message, "^require: there is no module '([%w_.-]+)'")
  if module and #module <= MAX_NAME then
    return "modules stand in spells/lib or lib: lib/" .. sgsub(module, "%.", "/") .. ".lua"
  end
  local made = smatch(message, "^attempt to call a table value %(global '([%a_][%w_]*)'%)$")
  if made then
    local api = resolved(made)
    return api and rawget(api, "create") and "write " .. made .. ".create { ... }"
  end
  local act, kind, name = smatch(message, "^attempt to (%a+) a nil value %((%a+) '([%a_][%w_]*)'%)$")
  if not name or #name > MAX_NAME or (act ~= "call" and act ~= "index") then
    return of_computing(message, line)
  end
  if kind == "global" then
    if ABSENT[name] then return "'" .. name .. "' is not there for spells: " .. ABSENT[name] end
    return ARGUMENTS[name] or suggestion(name, names_of(known.environment))
  end
  if kind == "field" or kind == "method" then return of_member(name, kind, line) end
  return nil
end

return hints
