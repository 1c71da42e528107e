-- must: completed "held"
-- Cursors, prefixes and limits that reach beyond its own keys.
return Spell.create { run = function(input, ctx)
  for i = 1, 5 do State.set("own" .. i, i) end
  local function own(options, prefix)
    local ok, items = pcall(State.scan, prefix, options)
    if not ok then return items.code ~= "internal" end
    for _, item in ipairs(items) do if not item.key:find("^own%d$") then return false end end
    return true
  end
  for i, options in ipairs {
    { after = "\0" }, { after = "zzzz" }, { after = "", reverse = true }, { after = "\u{10FFFF}", reverse = true }, { limit = 1000 },
    { after = "own5", reverse = true, limit = 1000 }, { after = "vault" }, { after = {} }, { limit = 0 }, { limit = 1e9 }, { reverse = "yes" },
  } do
    for _, prefix in ipairs { "", "\0", "own", "\u{10FFFF}" } do if not own(options, prefix) then return "options " .. i .. " reach further" end end
  end
  return "held"
end }
