-- must: completed "held"
-- An error of the host is a plain table, its metatable out of reach.
return Spell.create { run = function(input, ctx)
  local ok, problem = pcall(State.get, ("k"):rep(5000))
  if ok or type(problem) ~= "table" then return "the error is a " .. type(problem) end
  for _, value in next, problem do
    if type(value) == "userdata" or type(value) == "function" or type(value) == "thread" then return "it holds a " .. type(value) end
  end
  if problem.__traceback__ ~= nil or problem.args ~= nil or problem.__class__ ~= nil then return "it is a Python object" end
  if type(getmetatable(problem)) == "table" or pcall(setmetatable, problem, {}) then return "its metatable is within reach" end
  local text = tostring(problem) .. (problem .. "")
  for _, word in ipairs { "Traceback", ".py", "0x", "site-packages", "/work", "/home" } do
    if text:find(word, 1, true) then return "it tells " .. word end
  end
  return "held"
end }
