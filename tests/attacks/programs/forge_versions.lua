-- must: completed "held"
-- Guesses the versions of keys, of its own and of others.
return Spell.create { run = function(input, ctx)
  local real = State.set("k", "first")
  local guesses = { "0", "1", "0000000000000000", "0000000000000001", "ffffffffffffffff", "-1", "x", ("f"):rep(10000), real .. " ", real:upper() .. "g", "\0" }
  for _, guess in ipairs(guesses) do
    if guess ~= real and pcall(State.set, "k", "forged", { if_version = guess }) then return "version " .. guess .. " was taken" end
  end
  for _, guess in ipairs { 5, true, {}, 0.5 } do
    if pcall(State.set, "k", "forged", { if_version = guess }) then return "a " .. type(guess) .. " was taken" end
  end
  if pcall(State.set, "k", "forged", { if_version = "" }) then return "a key that is there counted as absent" end
  return State.get("k") == "first" and "held" or "it was overwritten"
end }
