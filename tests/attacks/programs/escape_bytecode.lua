-- must: completed "held"
-- No way to turn bytes into code.
return Spell.create { run = function(input, ctx)
  local header = "\27Lua\84\0\25\147\r\n\26\n" .. string.pack("I1I1I1i8d", 4, 8, 8, 0x5678, 370.5)
  if load or loadstring or string.dump or dofile then return "a loader is there" end
  for _, name in ipairs { header, "\27Lua", "bytecode", "@" .. header } do
    if pcall(require, name) then return "it was loaded" end
  end
  return "held"
end }
