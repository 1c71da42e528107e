-- must: completed "held"
-- require finds the project's modules and nothing else.
return Spell.create { run = function(input, ctx)
  local names = {
    "os", "io", "debug", "package", "kernel", "codec", "lupa", "ffi", "../kernel", "..", ".", "/etc/passwd",
    "llmspell.runtime", "spells.vault", "vault", "vault.lua", "lib.shared", "shared\0.lua", "%s", "", "\255\254",
    "file:///etc/passwd", ("a."):rep(5000), "_G", "=llmspell", "@spells/vault.lua",
  }
  for _, name in ipairs(names) do
    if pcall(require, name) then return "found " .. name:sub(1, 40) end
  end
  for _, name in ipairs { false, 5, {}, print, coroutine.create(print) } do
    if pcall(require, name) then return "found a " .. type(name) end
  end
  return "held"
end }
