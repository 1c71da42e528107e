-- must: completed "held"
-- Nothing of Lua's own library that reaches the machine is there.
return Spell.create { run = function(input, ctx)
  local forbidden = {
    "io", "debug", "package", "load", "loadfile", "loadstring", "dofile", "collectgarbage", "python", "warn",
    "newproxy", "setfenv", "getfenv", "jit", "ffi", "module", "lupa", "os.execute", "os.exit", "os.getenv",
    "os.remove", "os.rename", "os.tmpname", "os.setlocale", "string.dump", "math.randomseed",
  }
  for _, path in ipairs(forbidden) do
    local here = _G
    for name in path:gmatch("[^.]+") do here = type(here) == "table" and rawget(here, name) or nil end
    if here ~= nil then return path .. " is there" end
  end
  return "held"
end }
