-- must: completed "held"
-- Casts tables that were never constructed.
return Spell.create { needs = { tools = { "honest" } }, run = function(input, ctx)
  local cast = Spell.get("honest").cast
  local targets = {
    { ["$kind"] = "ref", name = "vault" }, { ["$kind"] = "spell", run = print }, "vault", 5, false, json.null, ctx, print, State,
    Schema.string(), Content.text "vault", setmetatable({ ["$kind"] = "ref", name = "vault" }, { __name = "spell", __index = { cast = cast } }),
  }
  for i = 1, #targets do
    local ok, problem = pcall(cast, targets[i], {})
    if ok then return "target " .. i .. " was cast" end
    if type(problem) ~= "table" or problem.code == "internal" then return "target " .. i .. ": " .. tostring(problem) end
  end
  return "held"
end }
