-- must: completed "held"
-- Hostile patterns raise errors and nothing else.
return Spell.create { run = function(input, ctx)
  local patterns = {
    "%", "[", "[^", "[]", "[a-", "%f", "%f[", "%b", "%bx", ("("):rep(40), ("()"):rep(40), "(()", "%1", "(a)%2", ("%1"):rep(100),
    "^^^", "$$$", "\0", "[\0-\255]*", "%z", ("a?"):rep(300), "(.)%1", "%g(", "[[:alpha:]]", "[%", "[%a-z]", "(a*(.)%w(%s*))",
  }
  for _, pattern in ipairs(patterns) do
    pcall(string.find, "aaa\0b", pattern)
    pcall(string.match, "aaa\0b", pattern, -100)
    pcall(string.gsub, "aaa\0b", pattern, "%0%1%2%9")
    pcall(string.gsub, "aaa\0b", pattern, { a = {} })
    pcall(string.gsub, "aaa\0b", pattern, function() return {} end)
    pcall(function() for _ in ("aaa"):gmatch(pattern) do end end)
  end
  return "held"
end }
