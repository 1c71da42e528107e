-- must: input.invalid
-- An input that is wrong in fifty thousand places.
return Spell.create { run = function(input, ctx)
  local strict = Spell.create { input = { list = Schema.list(Schema.string()) }, run = function() end }
  local list = {}
  for i = 1, 50000 do list[i] = i end
  return strict:cast { list = list }
end }
