-- must: limit.wall_clock | spell.raised
-- Optional items, each tried both ways.
return Spell.create { run = function(input, ctx)
  return (("a"):rep(30)):match(("a?"):rep(30) .. ("a"):rep(30) .. "b") or "no match"
end }
