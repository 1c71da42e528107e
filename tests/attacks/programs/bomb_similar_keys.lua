-- must: limit.wall_clock | limit.memory
-- Long keys that differ at their end only.
return Spell.create { run = function(input, ctx)
  local t, stem = {}, ("k"):rep(60)
  for i = 1, 1e8 do t[stem .. i] = i end
end }
