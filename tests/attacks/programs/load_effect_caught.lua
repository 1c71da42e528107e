-- must: completed "held"
-- Catches the refusal, and must have got nothing by it.
local got = {}
got[1] = pcall(State.shared.set, "planted", true)
got[2] = pcall(now)
got[3] = pcall(random)
got[4] = pcall(sleep, 0)
got[5] = pcall(os.time)
got[6] = pcall(uuid)
got[7] = pcall(parallel, { function() end })
local function any() for i = 1, 7 do if got[i] then return "effect " .. i .. " worked while loading" end end end
return Spell.create { run = function()
  return any() or (State.shared.get("planted") == nil and "held") or "it was written"
end }
