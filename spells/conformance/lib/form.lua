-- Asks a person, and says as a text what the person did.
return function(ctx, question)
  local ok, answer = pcall(ctx.ask, ctx, question)
  if ok then
    return "action=accept, content=" .. json.encode(answer)
  elseif answer.code == "ask.declined" then
    return "action=decline, content={}"
  end
  error(answer)
end
