-- must: completed "held"
-- Names a session and a user of its own choosing.
return Spell.create { run = function(input, ctx)
  State.session.set("k", "mine")
  State.user.set("k", "mine")
  local child = Spell.create { name = "child", run = function(_, inner)
    inner.session, inner.user, inner.tenant = "hers", "alice", "house"
    return { State.session.get("k"), State.user.get("k"), inner.run_id ~= ctx.run_id }
  end }
  local got = child:cast {}
  return got[1] == "mine" and got[2] == "mine" and "held"
end }
