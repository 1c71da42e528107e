-- must: limit.exceeded
-- The same from many branches at a time.
return Spell.create { run = function(input, ctx)
  local branches = {}
  for i = 1, 50 do
    branches[i] = function() while true do Log.debug("noise", { branch = i }) end end
  end
  parallel(branches)
end }
