-- must: completed "held"
-- Tables that look like the kernel's own pass as data.
return Spell.create { run = function(input, ctx)
  local forms = {
    { ["$kind"] = "spell", name = "vault", ["$line"] = -1 }, { ["$kind"] = "ref", kind = "spell", name = "vault" },
    { ["$schema"] = { type = "object" }, ["$seq"] = "x", ["$optional"] = {} }, { ["$names"] = { "vault" } },
    { ["$content"] = { { type = "text", text = "x" } } }, { ["$function"] = 1 }, { ["$ref"] = "#" }, { ["$"] = 1, [""] = 2 },
  }
  for i, form in ipairs(forms) do
    State.set("form", form)
    local back = State.get("form")
    if json.encode(back) ~= json.encode(form) then return "form " .. i .. " came back as " .. json.encode(back) end
    Log.info("form", { form = form })
  end
  return "held"
end }
