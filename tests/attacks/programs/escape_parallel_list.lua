-- must: completed "held"
-- The list of branches lies, changes and is not a list.
return Spell.create { run = function(input, ctx)
  local lie = setmetatable({}, { __len = function() return 3 end, __index = function() return print end })
  if #parallel(lie) ~= 0 then return "branches came out of a metamethod" end
  for _, wrong in ipairs { 5, "x", { 1 }, { a = print }, { print, nil, print, [1e9] = print }, { [0.5] = print } } do
    pcall(parallel, wrong)
  end
  local list = {}
  for i = 1, 5 do list[i] = function() list[i + 1] = function() return "planted" end return i end end
  local results = parallel(list)
  for i = 1, 5 do if results[i] ~= i then return "branch " .. i .. " was exchanged while it ran" end end
  return "held"
end }
