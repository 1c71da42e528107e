-- must: output.too_large | limit.memory
-- A child answers with more than a spell may.
return Spell.create { run = function(input, ctx)
  local child = Spell.create { run = function() return ("x"):rep(6 << 20) end }
  return #child:cast {}
end }
