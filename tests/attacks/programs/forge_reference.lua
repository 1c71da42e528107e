-- must: completed "held"
-- Changes what a found name stands for.
return Spell.create { needs = { tools = { "honest" } }, run = function(input, ctx)
  local function tries(change)
    local found = Spell.get("honest")
    change(found)
    local ok, problem = pcall(found.cast, found, {})
    return not ok and type(problem) == "table" and problem.code ~= "internal" and problem.code ~= nil
  end
  local changes = {
    function(r) r.name = "vault" end,
    function(r) r.name = { "vault" } end,
    function(r) r.name = nil end,
    function(r) r.name = 5 end,
    function(r) rawset(r, "$kind", "spell") r.run = print end,
    function(r) rawset(r, "$kind", "agent") r.tools = { "vault" } r.name = ("x"):rep(100) end,
    function(r) rawset(r, "$kind", "workflow") r.type = "none" end,
    function(r) rawset(r, "$kind", {}) end,
    function(r) rawset(r, "$kind", nil) end,
  }
  for i, change in ipairs(changes) do if not tries(change) then return "change " .. i .. " was taken" end end
  return "held"
end }
