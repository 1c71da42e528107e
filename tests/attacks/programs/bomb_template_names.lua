-- must: workflow.unknown_placeholder
-- A name that is nearly like a thousand others, each two thousand letters long.
return Spell.create { run = function(input, ctx)
  local data, name = {}, ("ab"):rep(1000)
  for i = 1, 1000 do data[("ab"):rep(i % 999) .. "ba" .. ("ab"):rep(998 - i % 999)] = i end
  return template("x {{" .. name .. "}}", data)
end }
