-- must: completed "held"
-- Keys that look like paths lead nowhere else.
return Spell.create { run = function(input, ctx)
  State.set("mine", 1)
  for _, key in ipairs {
    "../vault/secret", "vault/secret", "/vault/secret", "spell\0vault\0secret", "secret\0", "vault:secret", "*", "%", "secret", "../../secret",
    '["local:0","default"]', "default\0spell\0vault\0secret", "\1", "kv/vault/secret",
  } do
    local ok, value = pcall(State.get, key)
    if ok and value ~= nil then return key .. " leads to " .. json.encode(value) end
    for _, scope in ipairs { "session", "user", "shared" } do
      local fine, other = pcall(State[scope].get, key)
      if fine and other ~= nil then return scope .. " " .. key .. " leads to " .. json.encode(other) end
    end
  end
  for _, prefix in ipairs { "", "\0", "v", "s", "../" } do
    local items = State.scan(prefix)
    for _, item in ipairs(items) do if item.key ~= "mine" then return "scan shows " .. item.key end end
  end
  return "held"
end }
