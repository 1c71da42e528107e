-- must: completed "held"
-- Errors that are nothing, a number, a function, a branch's nothing.
return Spell.create { run = function(input, ctx)
  for _, value in ipairs { 5, true, print, coroutine.create(print), json.null, 0 / 0 } do
    local ok = pcall(parallel, { function() error(value) end })
    if ok then return "the error " .. tostring(value) .. " was lost" end
  end
  if pcall(parallel, { function() error(nil) end }) then return "an error without a value was lost" end
  if pcall(parallel, { function() error() end, function() return 1 end }) then return "an error of nothing was lost" end
  return "held"
end }
