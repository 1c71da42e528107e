-- Lengths of time as authors write them, as in settings and declarations: seconds, or "2h".
local type, tonumber, smatch, huge = type, tonumber, string.match, math.huge

local UNITS = { ms = 0.001, s = 1, m = 60, h = 3600, d = 86400, w = 604800 }

local durations = {}

-- Returns in words what a length of time looks like.
function durations.forms() return "seconds, or a text like '500ms', '2s', '2m', '1h', '3d'" end

-- Returns the seconds that a value stands for, or nil when it is no length of time.
function durations.seconds(value)
  local seconds = type(value) == "number" and value or nil
  if type(value) == "string" then
    local amount, unit = smatch(value, "^%s*(%d+%.?%d*)%s*(%a+)%s*$")
    seconds = amount and UNITS[unit] and tonumber(amount) * UNITS[unit]
  end
  if not seconds or seconds ~= seconds or seconds < 0 or seconds == huge then return nil end
  return seconds
end

return durations
