-- must: completed "held"
-- Content of wrong bytes, types and addresses.
return Spell.create { run = function(input, ctx)
  local all = {}
  for byte = 0, 255 do all[#all + 1] = string.char(byte) end
  local bytes = table.concat(all)
  for _, kind in ipairs { "image", "audio" } do
    for _, wrong in ipairs { 5, {}, false, print } do
      if pcall(Content[kind], wrong, "image/png") or pcall(Content[kind], bytes, wrong) then return kind .. " took a " .. type(wrong) end
    end
  end
  State.set("blob", "text")
  local ok, problem = pcall(State.set, "blob", Content.image(bytes, "image/png"))
  if not ok and problem.code == "internal" then return problem.message end
  if pcall(Content.list, { 5 }) or pcall(Content.list, { { ["$content"] = { { type = "text" } } } }) then return "a list took what Content did not make" end
  return "held"
end }
