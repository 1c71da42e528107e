-- must: completed "held"
-- A handler that fails itself, on every level.
return Spell.create { run = function(input, ctx)
  local ok = xpcall(function() error("first") end, function() error("second") end)
  if ok then return "the error was lost" end
  return "held"
end }
