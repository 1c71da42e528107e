-- must: completed "held"
-- Exchanges its own environment and looks for another behind it.
return Spell.create { run = function(input, ctx)
  local real = _G
  local function probe()
    local _ENV = {}
    return os, io, debug, print, _G
  end
  for _, value in ipairs { probe() } do if value ~= nil then return "an empty environment holds something" end end
  local function nothing(_ENV) return io, debug, load, package end
  if nothing(real) ~= nil then return "the environment holds more than it shows" end
  local spy = setmetatable({}, { __index = function(_, name) return real[name] end, __newindex = function() error("no") end })
  local ok = pcall(function() local _ENV = spy  x = 1 end)
  if ok then return "the assignment went elsewhere" end
  _ENV = setmetatable({}, { __index = real })
  require = nil
  return real.require ~= nil and "held" or "the kernel's environment was changed"
end }
