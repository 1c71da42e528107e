-- The line hook: notes which lines of the author's files run, for tests of spells.
--
-- Loaded before any other part, and only into a state that asks for it: it multiplies the cost of
-- plain computing. Which lines there are is read from the compiled file, as Lua 5.4 writes it.
local next = next
local sethook, getinfo, create = debug.sethook, debug.getinfo, coroutine.create
local dump, sbyte, sunpack, sort = string.dump, string.byte, string.unpack, table.sort

local coverage = {}

local ran, fresh = {}, {} -- by short source: lines that ran; those not told yet
local files, loaded = {}, {} -- names by short source; by name: lines there are, not told yet

local function hook(_, line)
  if not line then return end -- the kernel: it is compiled without lines
  local source = getinfo(2, "S").short_src
  local lines = ran[source]
  if not lines then
    lines = {}
    ran[source] = lines
  end
  if not lines[line] then
    lines[line] = true
    fresh[source] = fresh[source] or {}
    fresh[source][line] = true
  end
end

function coroutine.create(f)
  local co = create(f)
  sethook(co, hook, "l")
  return co
end

---------------------------------------------------------------- the lines there are

local HEADER = 31 -- bytes before the number of upvalues of the main function
local SIZES = { [0x03] = 8, [0x13] = 8 } -- constants: integers and floats; texts are read apart
local MARK = -128 -- in the line differences: the line stands in a list of its own

local bytes, at

local function number()
  local n = 0
  while true do
    local byte = sbyte(bytes, at)
    at = at + 1
    n = n << 7 | byte & 0x7f
    if byte >= 0x80 then return n end
  end
end

-- Skips as many items of `size` bytes as the number that comes first says.
local function skip(size)
  local count = number()
  at = at + size * count
end

local function skip_text()
  local size = number()
  if size > 0 then at = at + size - 1 end
end

-- Adds the lines of a function and those inside it, but for the end of each, which is no statement.
local function read_function(lines)
  skip_text()
  local line = number()
  number()
  local is_vararg = sbyte(bytes, at + 1) ~= 0
  at = at + 3
  skip(4)
  for _ = 1, number() do
    local kind = sbyte(bytes, at)
    at = at + 1
    if kind == 0x04 or kind == 0x14 then skip_text() else at = at + (SIZES[kind] or 0) end
  end
  skip(3)
  for _ = 1, number() do read_function(lines) end
  local count = number()
  local differences, absolute = at, {}
  at = at + count
  for _ = 1, number() do
    local instruction = number()
    absolute[instruction] = number()
  end
  for i = 0, count - 1 do
    local difference = sunpack("b", bytes, differences + i)
    line = difference == MARK and absolute[i] or line + difference
    if i < count - 1 and not (is_vararg and i == 0) then lines[line] = true end
  end
  for _ = 1, number() do
    skip_text()
    number()
    number()
  end
  for _ = 1, number() do skip_text() end
end

-- Takes note of a file of the author and its compiled main function.
function coverage.loaded(file, chunk)
  files[getinfo(chunk, "S").short_src] = file
  bytes, at = dump(chunk), HEADER + 2
  local lines = {}
  read_function(lines)
  bytes = nil
  loaded[file] = lines
end

---------------------------------------------------------------- telling

local function list(lines)
  local sorted = {}
  for line in next, lines or {} do sorted[#sorted + 1] = line end
  sort(sorted)
  return sorted
end

-- Calls `tell(file, lines there are, lines that ran)` for all that is not told yet.
function coverage.take(tell)
  for short, file in next, files do
    if loaded[file] or fresh[short] then
      tell(file, list(loaded[file]), list(fresh[short]))
      loaded[file], fresh[short] = nil, nil
    end
  end
end

return coverage
