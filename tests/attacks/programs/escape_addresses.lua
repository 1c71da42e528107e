-- must: completed "held"
-- No text tells where in memory anything is.
return Spell.create { run = function(input, ctx)
  local things = { {}, print, coroutine.create(print), ctx, json.null, _G, string, setmetatable({}, { __name = "mine" }) }
  local texts = {}
  for _, thing in ipairs(things) do
    texts[#texts + 1] = tostring(thing)
    texts[#texts + 1] = ("%s %q"):format(thing, "x")
    texts[#texts + 1] = tostring(select(2, pcall(error, thing)))
    texts[#texts + 1] = tostring(select(2, pcall(function() return thing + 1 end)))
    texts[#texts + 1] = tostring(select(2, pcall(function() return thing < 1 end)))
    texts[#texts + 1] = tostring(select(2, pcall(json.encode, { [thing] = 1 })))
    texts[#texts + 1] = tostring(select(2, pcall(table.concat, { thing })))
  end
  for _, format in ipairs { "%p", "%-20p", "%5p", "%%%p", "%s%p" } do
    texts[#texts + 1] = tostring(select(2, pcall(string.format, format, {}, {})))
  end
  for _, text in ipairs(texts) do if text:find("0x%x%x%x%x%x") then return text end end
  return "held"
end }
