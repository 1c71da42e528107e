-- The constructors of `Workflow`: they sort what authors write into steps, branches and options.
local codec, constructed, noted = ...
local type, next, rawget, rawlen, setmetatable = type, next, rawget, rawlen, setmetatable
local ssub, mtype = string.sub, math.type
local copy, ARRAY, OBJECT = codec.copy, codec.ARRAY, codec.OBJECT

-- Moves the list part of `made` to its field `steps`.
local function take_steps(made, from)
  local steps = setmetatable({}, ARRAY)
  for i = 1, rawlen(from) do
    steps[i] = rawget(from, i)
    if from == made then made[i] = nil end
  end
  made.steps = steps
end

local function sequential(fields)
  local made = constructed("workflow", "Workflow.sequential", fields)
  made.type = "sequential"
  local items = copy(made)
  for key in next, items do
    if mtype(key) then made[key] = nil end
  end
  if rawlen(items) > 0 or made.steps == nil then take_steps(made, items) end
  return made
end

local STEP_TYPES = { table = true, ["function"] = true } -- a text would be an option, misspelt
local PARALLEL_OPTIONS = { name = true, limit = true, branches = true, steps = true, description = true, type = true }

local function parallel(fields)
  local made = constructed("workflow", "Workflow.parallel", fields)
  made.type = "parallel"
  local items, branches = copy(made), made.branches
  if type(branches) == "table" and rawlen(branches) > 0 then
    made.branches = nil
    take_steps(made, branches)
    branches = nil
  end
  if rawlen(items) > 0 then take_steps(made, items) end
  for key, value in next, items do
    if mtype(key) then
      made[key] = nil
    elseif type(key) == "string" and STEP_TYPES[type(value)] and not PARALLEL_OPTIONS[key] and ssub(key, 1, 1) ~= "$" then
      -- A named step written beside the options.
      if type(branches) ~= "table" then branches = {} elseif branches == items.branches then branches = copy(branches) end
      branches[key], made[key] = value, nil
    end
  end
  if type(branches) == "table" then made.branches = setmetatable(branches, OBJECT) end
  return made
end

return {
  sequential = function(fields) return (noted(sequential(fields))) end,
  parallel = function(fields) return (noted(parallel(fields))) end,
}
