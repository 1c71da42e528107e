-- must: completed
-- A list of twenty thousand that must all differ.
return Spell.create { run = function(input, ctx)
  local strict = Spell.create { input = { list = { type = "array", uniqueItems = true } }, run = function() return "in" end }
  local list = {}
  for i = 1, 20000 do list[i] = { n = i } end
  return strict:cast { list = list }
end }
