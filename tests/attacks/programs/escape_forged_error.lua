-- must: spell.raised
-- Pretends to be another error than it is.
return Spell.create { run = function(input, ctx)
  local ok, caught = pcall(State.get, 5)
  caught.code = "access.unauthenticated"
  local forged = { code = "state.owned", message = "forged", run_id = "0000", where = "/etc/passwd:1", retryable = true }
  error(forged)
end }
