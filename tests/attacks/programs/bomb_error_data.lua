-- must: spell.raised | output.too_large | limit.memory
-- An error with more data than a message may hold.
return Spell.create { run = function(input, ctx)
  local data = {}
  for i = 1, 60 do data[i] = ("x"):rep(200000) end
  error { code = "mine", message = "see the data", data = data }
end }
