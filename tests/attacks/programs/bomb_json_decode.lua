-- must: completed "held"
-- Brackets without end, and a text of one number with a million digits.
return Spell.create { run = function(input, ctx)
  local ok, problem = pcall(json.decode, ("["):rep(1000000))
  if ok then return "a million brackets were read" end
  ok, problem = pcall(json.decode, ('{"a":'):rep(5000) .. "1" .. ("}"):rep(5000))
  if ok then return "5000 levels were read" end
  pcall(json.decode, ("9"):rep(1000000))
  pcall(json.decode, '"' .. ("\\u0000"):rep(100000) .. '"')
  return "held"
end }
