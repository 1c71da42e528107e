-- Random numbers and ids: the same in every process that runs the same cast.
local tasks, cast = ... -- `cast.seed` is what they are made of
local error, sbyte, sformat = error, string.byte, string.format
local ult, tointeger = math.ult, math.tointeger

-- A number stream (SplitMix64) of its own for each scope of a task and use. Not for secrets.
local function stream(name)
  local state = 0xcbf29ce484222325 -- FNV-1a over everything that names the stream
  local text = cast.seed .. "\0" .. tasks.current.scope.path .. "\0" .. name
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
  low, high = tointeger(low), tointeger(high)
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

local numbers = {}

function numbers.random(low, high) return (random("random", low, high)) end
function numbers.math_random(low, high) return (random("math.random", low, high)) end

function numbers.uuid()
  tasks.refuse_loading("uuid")
  local a, b = draw("uuid.high"), draw("uuid.low")
  return (sformat("%08x-%04x-4%03x-%04x-%012x",
    (a >> 32) & 0xffffffff, (a >> 16) & 0xffff, a & 0xfff,
    ((b >> 48) & 0x3fff) | 0x8000, b & 0xffffffffffff))
end

return numbers
