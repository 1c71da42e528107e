-- must: completed "held"
-- Templates of every bad shape.
return Spell.create { run = function(input, ctx)
  for i, text in ipairs {
    "{{", "{{}}", "{{ }}", "{{a.b.c}}", "{{__class__}}", "{{a.__class__.__mro__}}", "{{a[0]}}", "{{a.0}}", "{{a.-1}}", "{{a." .. ("b."):rep(50) .. "c}}",
    "{{a}}}}", "{{{a}}}", "{%  %}", ("{{"):rep(2000), "{{a" .. (" "):rep(2000) .. "}}", "{{\0}}", "%(a)s {a} ${a}", "{{self.config}}",
  } do
    local ok, result = pcall(template, text, { a = { "x" }, b = json.null })
    if not ok and (type(result) ~= "table" or result.code == "internal") then return i .. ": " .. tostring(result) end
    if ok and tostring(result):find("class", 1, true) and not text:find("class", 1, true) then return i .. ": " .. result end
  end
  return "held"
end }
