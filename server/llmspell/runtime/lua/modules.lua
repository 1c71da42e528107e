-- `require`: the modules of a project, each run once, with the globals of the spell.
local errors, tasks, environment = ...
local type, error, pcall, next = type, error, pcall, next
local sgsub = string.gsub

local modules = {}

local LOADING = {} -- marks a module whose top level is running
local sources, loaded, chain = {}, {}, {}

function modules.require(name)
  if type(name) ~= "string" then error("require: the name of a module was expected, got a " .. type(name), 2) end
  local value = loaded[name]
  if value == LOADING then
    local circle = name
    for i = #chain, 1, -1 do
      circle = chain[i] .. " -> " .. circle
      if chain[i] == name then break end
    end
    error("require: modules need each other: " .. circle, 2)
  end
  if value ~= nil then return value end
  local source = sources[name]
  if not source then error("require: there is no module '" .. name .. "' in this project", 2) end
  local chunk = errors.load(source.file, source.text, environment)
  loaded[name] = LOADING
  chain[#chain + 1] = name
  local ok, result = pcall(tasks.sealed, "the top level of module '" .. name .. "'", "call it from a function", chunk, name)
  chain[#chain] = nil
  if not ok then
    loaded[name] = nil
    error(result, 0)
  end
  if result == nil then result = true end
  loaded[name] = result
  return result
end

-- Takes the texts of modules by name; one that is known stays as it is.
function modules.add(texts, directory)
  for name, text in next, texts do
    sources[name] = sources[name] or { text = text, file = directory .. sgsub(name, "%.", "/") .. ".lua" }
  end
end

return modules
