-- must: spell.raised
-- An error inside an error inside an error.
return Spell.create { run = function(input, ctx)
  local problem = "bottom"
  for _ = 1, 5000 do problem = { message = problem, data = problem } end
  error(problem)
end }
