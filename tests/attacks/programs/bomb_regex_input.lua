-- must: completed
-- A pattern that a backtracking matcher would try for ever.
return Spell.create { run = function(input, ctx)
  local strict = Spell.create {
    input = { text = Schema.string { pattern = "^(a|aa)+$" }, other = Schema.string { pattern = "^(?=(a+)+$)b", optional = true } },
    run = function() return "in" end,
  }
  local ok, problem = pcall(strict.cast, strict, { text = ("a"):rep(5000) .. "b", other = ("a"):rep(5000) .. "b" })
  return ok or problem.code
end }
