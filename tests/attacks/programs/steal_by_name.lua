-- must: completed
-- A child that bears another spell's name must not find that spell's state.
return Spell.create { run = function(input, ctx)
  local thief = Spell.create { name = "vault", run = function() return { secret = State.get("secret"), all = State.scan("") } end }
  return thief:cast {}
end }
