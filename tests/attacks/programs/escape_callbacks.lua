-- must: completed "held"
-- Effects inside every callback that cannot wait: they work, or are refused by name.
return Spell.create { run = function(input, ctx)
  local function try(fn) return select(2, pcall(fn)) end
  local problems = {
    try(function() table.sort({ 3, 2, 1 }, function(a, b) State.get("k") return a < b end) end),
    try(function() return (("abc"):gsub("%w", function(c) State.get(c) return c end)) end),
    try(function() return tostring(setmetatable({}, { __tostring = function() State.get("k") return "x" end })) end),
    try(function() return State.update("k", function(v) State.get("k") return 1 end) end),
    try(function() return xpcall(error, function() State.get("k") return "x" end) end),
    try(function() return require "acting" end),
  }
  for i = 1, 6 do
    local text = tostring(problems[i])
    if text:find("C-call boundary", 1, true) or text:find("0x", 1, true) then return i .. ": " .. text end
  end
  return "held"
end }
