-- must: completed "held"
-- Pieces of an answer that are none.
return Spell.create { run = function(input, ctx)
  for i, part in ipairs {
    5, true, {}, { text = 5 }, { text = "a", data = "b" }, { data = print }, { bytes = "x" }, { text = "x", last = "yes" }, { text = {} },
    { text = "x", name = {} }, { text = "x", append = 1 }, { text = "x", media_type = 5 }, json.null,
  } do
    local ok, problem = pcall(ctx.emit, ctx, part)
    if not ok and (type(problem) ~= "table" or problem.code == "internal") then return i .. ": " .. tostring(problem) end
  end
  return "held"
end }
