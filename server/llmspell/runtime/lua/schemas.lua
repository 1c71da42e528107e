-- The constructors of `Schema`: each marks a table; what it means is read by the host.
local codec, errors, tasks = ...
local type, next, rawlen, setmetatable = type, next, rawlen, setmetatable
local wrong, described = tasks.misuse, errors.described
local OBJECT = codec.OBJECT

local SCHEMA = { __name = "schema", __metatable = "schema" }
local sequence = 0

local bounds = {
  string = { min = "minLength", max = "maxLength" },
  integer = { min = "minimum", max = "maximum" },
  number = { min = "minimum", max = "maximum" },
  array = { min = "minItems", max = "maxItems" },
}

local function schema(what, kind, keywords, about, options)
  if type(about) == "table" and options == nil then about, options = nil, about end
  if about ~= nil and type(about) ~= "string" then
    wrong(what .. ": the description must be a text, got " .. described(about), what .. '("what it is", { ... })')
  end
  if options ~= nil and type(options) ~= "table" then
    wrong(what .. ": the options must be a table, got " .. described(options), what .. '("what it is", { ... })')
  end
  local names, optional, complete = bounds[kind] or {}, nil, nil
  keywords.type = kind
  if about and about ~= "" then keywords.description = about end
  for key, value in next, options or {} do
    if key == "optional" then
      optional = value
    elseif key == "complete" then
      if type(value) ~= "function" then
        wrong(what .. ": 'complete' must be a function, got " .. described(value), "complete = function(value, context) return { ... } end")
      end
      complete = value
    else
      keywords[names[key] or key] = value
    end
  end
  sequence = sequence + 1
  return setmetatable({ ["$schema"] = keywords, ["$seq"] = sequence, ["$optional"] = optional or nil, ["$complete"] = complete }, SCHEMA)
end

local schemas = {}
for _, kind in next, { "string", "integer", "number", "boolean" } do
  local what = "Schema." .. kind
  schemas[kind] = function(about, options) return (schema(what, kind, {}, about, options)) end
end

function schemas.any(about, options) return (schema("Schema.any", nil, {}, about, options)) end

function schemas.enum(values, about, options)
  if type(values) ~= "table" or rawlen(values) == 0 then
    wrong("Schema.enum takes a list of values, got " .. described(values), 'Schema.enum({ "a", "b" }, "what it is")')
  end
  local kind = "string"
  for i = 1, rawlen(values) do
    if type(values[i]) ~= "string" then kind = nil end
  end
  return (schema("Schema.enum", kind, { enum = values }, about, options))
end

function schemas.list(of, about, options)
  if type(of) ~= "table" then
    wrong("Schema.list takes the schema of its items first, got " .. described(of), 'Schema.list(Schema.string "an item")')
  end
  return (schema("Schema.list", "array", { items = of }, about, options))
end

function schemas.object(fields, about, options)
  if type(fields) ~= "table" then
    wrong("Schema.object takes a table of fields first, got " .. described(fields), 'Schema.object { name = Schema.string "a field" }')
  end
  return (schema("Schema.object", "object", { properties = setmetatable(codec.copy(fields), OBJECT) }, about, options))
end

return schemas
