-- must: completed "held"
-- Texts that are nearly JSON, and JSON that is nearly a trap.
return Spell.create { run = function(input, ctx)
  for i, text in ipairs {
    "", " ", "[", "]", "{", "}", "[1,]", "{,}", '{"a"}', '{"a":}', "nul", "tru", "+1", "01", "1.", ".5", "1e", "0x10", "NaN", "Infinity", "-",
    '"', '"\\', '"\\u', '"\\u12', '"\1"', "'a'", "[1 2]", '{"a":1,"a":2', "/* */", "\255", "\239\187\191[]",
    '{"a":1}x', "[[]", string.rep("[", 200) .. string.rep("]", 200),
  } do
    local ok, problem = pcall(json.decode, text)
    if ok then return i .. " was read: " .. text end
    if tostring(problem):find("llmspell:", 1, true) then return i .. ": " .. tostring(problem) end
  end
  local forged = json.decode '{"__index":{"x":1},"$kind":"ref","name":"vault","__metatable":false}'
  if forged.x ~= nil or type(getmetatable(forged)) == "table" then return "it came with a metatable" end
  return "held"
end }
