-- must: completed "held"
-- Forges its own ctx, and calls its methods on other things.
return Spell.create { run = function(input, ctx)
  ctx.run_id, ctx.user, ctx.tenant, ctx.session = "forged", "root", "other", "theirs"
  State.user.set("who", "me")
  local fake = { run_id = "x" }
  pcall(ctx.log, fake, "info", "from a fake")
  pcall(ctx.emit, nil, "x")
  pcall(ctx.progress, "x", 0 / 0)
  return State.user.get("who") == "me" and "held"
end }
