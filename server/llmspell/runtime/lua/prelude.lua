-- The spell API: what authors write. Tables for shape, functions for leaves.
--
-- Constructors only mark tables; whether a key exists is judged where the declaration is read.
local codec, json, known, errors, tasks, sandbox = ...
local type, next, error, rawget, rawlen, rawequal, setmetatable = type, next, error, rawget, rawlen, rawequal, setmetatable
local tonumber, tostring, tpack = tonumber, tostring, table.pack
local smatch, sfind, ssub, concat, mtype = string.match, string.find, string.sub, table.concat, math.type
local raw_metatable = debug.getmetatable
local ARRAY, OBJECT, BLOB, null = codec.ARRAY, codec.OBJECT, codec.BLOB, codec.null

local S = sandbox.environment
local prelude = {
  last = nil, -- result of the main file's last own cast
  named = nil, -- names the file mentions while it is loaded to be published, as keys
}

-- The author's code uses the API wrongly; `usage` shows how it is meant.
local function wrong(message, usage)
  local task = tasks.current
  local code = tasks.loading and "spec.invalid" or "spell.raised"
  local fields = { code = code, message = message, hint = usage and "write " .. usage }
  error(errors.new(fields, task and task.fn, smatch(message, "^[%w_%.:]*[%w_]")), 0)
end

local function described(value)
  if value == nil then return "nothing" end
  return (sfind(type(value), "^[aeiou]") and "an " or "a ") .. type(value)
end

local function shown(value)
  if type(value) == "number" then return tostring(value) end
  return type(value) == "string" and "'" .. ssub(value, 1, 40) .. "'" or described(value)
end

local function copy(fields)
  local t = {}
  for key, value in next, fields do t[key] = value end
  return t
end

---------------------------------------------------------------- castables

local kinds = {} -- metatable of everything castable -> true

local function castable(name, methods)
  local metatable = { __name = name, __metatable = name, __index = methods }
  kinds[metatable] = true
  return metatable
end

local function target(self, what)
  if type(self) ~= "table" or not kinds[raw_metatable(self)] then
    wrong("call it with a colon: " .. what, what)
  end
  if rawget(self, "$kind") == "ref" then return rawget(self, "name") end
  return self
end

local function cast(self, input)
  local arguments = { target = target(self, "something:cast(input)"), input = input }
  if input == nil then arguments.input = setmetatable({}, OBJECT) end
  local result = tasks.perform("cast", "cast", arguments, "target")
  if tasks.current.path == "0" then prelude.last = result end
  return result
end

local function run_agent(what, self, arguments)
  arguments.agent = target(self, what)
  return tasks.perform(what, "agent.run", arguments, "agent")
end

local agent_methods = { cast = cast }

function agent_methods.ask(self, prompt) return run_agent("agent:ask", self, { prompt = prompt }).text end

function agent_methods.run(self, options)
  if type(options) == "string" then options = { prompt = options } end
  if type(options) ~= "table" then
    wrong("agent:run takes a text or a table, got " .. described(options), 'agent:run { prompt = "..." }')
  end
  return run_agent("agent:run", self, copy(options))
end

local castables = {
  spell = castable("spell", { cast = cast }),
  agent = castable("agent", agent_methods),
  tool = castable("tool", { cast = cast }),
  workflow = castable("workflow", { cast = cast }),
}

-- What a file names while it is loaded, it may cast. Agents, workflows and found spells are often
-- kept in locals, so the declaration alone does not tell.
local NAMES = { "agent", "tool", "spell", "workflow" } -- fields whose text is a name
local LISTS = { "tools", "steps", "branches" } -- fields that hold names, or tables that name

local function mention(value, seen)
  if type(value) == "string" then
    prelude.named[value] = true
  elseif type(value) == "table" and not seen[value] then
    seen[value] = true
    for i = 1, #NAMES do mention(rawget(value, NAMES[i]), seen) end
    for i = 1, #LISTS do
      local list = rawget(value, LISTS[i])
      if type(list) == "table" and not seen[list] then
        seen[list] = true
        for _, item in next, list do mention(item, seen) end
      end
    end
    mention(rawget(value, "needs"), seen)
  end
end

local function noted(made)
  if prelude.named and tasks.loading then mention(made, {}) end
  return made
end

local function constructed(kind, what, fields)
  if type(fields) ~= "table" then
    wrong(what .. " takes one table: " .. what .. " { ... }; got " .. described(fields), what .. " { ... }")
  end
  local made = copy(fields)
  made["$kind"], made["$line"] = kind, errors.main_line()
  return setmetatable(made, castables[kind])
end

local function finder(kind, what)
  return function(name)
    if type(name) ~= "string" then wrong(what .. " takes a name, got " .. described(name), what .. ' "NAME"') end
    if prelude.named and tasks.loading then prelude.named[name] = true end
    return setmetatable({ ["$kind"] = "ref", kind = kind, name = name }, castables[kind])
  end
end

S.Spell = {
  create = function(fields) return (noted(constructed("spell", "Spell.create", fields))) end,
  get = finder("spell", "Spell.get"),
}
S.Agent = {
  create = function(fields) return (noted(constructed("agent", "Agent.create", fields))) end,
  get = finder("agent", "Agent.get"),
}
S.Tool = {
  create = function(fields) return (noted(constructed("tool", "Tool.create", fields))) end,
  get = finder("tool", "Tool.get"),
}

---------------------------------------------------------------- workflows

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
    elseif type(key) == "string" and type(value) == "table" and not PARALLEL_OPTIONS[key] and ssub(key, 1, 1) ~= "$" then
      -- A named step written beside the options.
      if type(branches) ~= "table" then branches = {} elseif branches == items.branches then branches = copy(branches) end
      branches[key], made[key] = value, nil
    end
  end
  if type(branches) == "table" then made.branches = setmetatable(branches, OBJECT) end
  return made
end

S.Workflow = {
  sequential = function(fields) return (noted(sequential(fields))) end,
  parallel = function(fields) return (noted(parallel(fields))) end,
}

---------------------------------------------------------------- schemas

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
  local names, optional = bounds[kind] or {}, nil
  keywords.type = kind
  if about and about ~= "" then keywords.description = about end
  for key, value in next, options or {} do
    if key == "optional" then
      optional = value
    else
      keywords[names[key] or key] = value
    end
  end
  sequence = sequence + 1
  return setmetatable({ ["$schema"] = keywords, ["$seq"] = sequence, ["$optional"] = optional or nil }, SCHEMA)
end

S.Schema = {}
for _, kind in next, { "string", "integer", "number", "boolean" } do
  local what = "Schema." .. kind
  S.Schema[kind] = function(about, options) return (schema(what, kind, {}, about, options)) end
end

function S.Schema.any(about, options) return (schema("Schema.any", nil, {}, about, options)) end

function S.Schema.enum(values, about, options)
  if type(values) ~= "table" or rawlen(values) == 0 then
    wrong("Schema.enum takes a list of values, got " .. described(values), 'Schema.enum({ "a", "b" }, "what it is")')
  end
  local kind = "string"
  for i = 1, rawlen(values) do
    if type(values[i]) ~= "string" then kind = nil end
  end
  return (schema("Schema.enum", kind, { enum = values }, about, options))
end

function S.Schema.list(of, about, options)
  if type(of) ~= "table" then
    wrong("Schema.list takes the schema of its items first, got " .. described(of), 'Schema.list(Schema.string "an item")')
  end
  return (schema("Schema.list", "array", { items = of }, about, options))
end

function S.Schema.object(fields, about, options)
  if type(fields) ~= "table" then
    wrong("Schema.object takes a table of fields first, got " .. described(fields), 'Schema.object { name = Schema.string "a field" }')
  end
  return (schema("Schema.object", "object", { properties = setmetatable(copy(fields), OBJECT) }, about, options))
end

---------------------------------------------------------------- state

local UPDATE_ATTEMPTS = 20

local function state(scope, title)
  local usages = {
    get = "get(key, default)",
    set = "set(key, value)",
    delete = "delete(key)",
    increment = "increment(key, by)",
    update = "update(key, function(value) return changed end)",
    scan = "scan(prefix, { limit = 100 })",
  }
  local function usage(method) return title .. "." .. usages[method] end

  local function check(method, key)
    local what = title .. "." .. method
    if type(key) ~= "string" then wrong(what .. ": the key must be a text, got " .. described(key), usage(method)) end
    return what
  end

  local function table_of(method, options)
    if options ~= nil and type(options) ~= "table" then
      wrong(title .. "." .. method .. ": the options must be a table, got " .. described(options), usage(method))
    end
    return copy(options or {})
  end

  local function read(what, key)
    local answer = tasks.perform(what, "state.get", { scope = scope, key = key })
    local value, version = answer[1], answer[2]
    if value == null then value = nil end
    if version == null then version = nil end
    return value, version
  end

  local methods = {}

  function methods.get(key, default)
    local value, version = read(check("get", key), key)
    if value == nil then value = default end
    return value, version
  end

  function methods.set(key, value, options)
    local what = check("set", key)
    if value == nil then wrong(what .. ": no value; remove a key with " .. title .. ".delete", usage "set") end
    local arguments = table_of("set", options)
    arguments.scope, arguments.key, arguments.value = scope, key, value
    return (tasks.perform(what, "state.set", arguments))
  end

  function methods.delete(key)
    return (tasks.perform(check("delete", key), "state.delete", { scope = scope, key = key }))
  end

  function methods.increment(key, by)
    local what = check("increment", key)
    return (tasks.perform(what, "state.increment", { scope = scope, key = key, by = by or 1 }))
  end

  -- Reads, calls `fn` with the value, writes what it returns; again when someone else wrote meanwhile.
  function methods.update(key, fn)
    local what = check("update", key)
    if type(fn) ~= "function" then wrong(what .. " takes a key and a function, got " .. described(fn), usage "update") end
    for _ = 1, UPDATE_ATTEMPTS do
      local value, version = read(what, key)
      local changed = tasks.sealed("the function of " .. what, "it may run more than once", fn, value)
      if changed == nil then wrong(what .. ": the function must return the new value", usage "update") end
      local arguments = { scope = scope, key = key, value = changed, if_version = version or "" }
      local ok, result = tasks.attempt(what, "state.set", arguments)
      if ok then return changed, result end
      if result.code ~= "state.conflict" then error(result, 0) end
    end
    local message = what .. ": the key changed " .. UPDATE_ATTEMPTS .. " times while it was updated"
    error(errors.new({ code = "state.conflict", message = message, hint = "let fewer casts write the same key" }, tasks.current.fn), 0)
  end

  function methods.scan(prefix, options)
    local arguments = table_of("scan", options)
    arguments.scope, arguments.prefix = scope, prefix or ""
    local page = tasks.perform(title .. ".scan", "state.scan", arguments)
    return page.items, page.next
  end

  -- `State.get(key)` and `State.shared:get(key)` are both how people write it.
  local face = {}
  for name, method in next, methods do
    face[name] = function(first, ...)
      local value, more -- not a tail call: its frame tells the author's line
      if rawequal(first, face) then value, more = method(...) else value, more = method(first, ...) end
      return value, more
    end
  end
  return face
end

S.State = state("spell", "State")
for _, scope in next, { "session", "user", "shared" } do S.State[scope] = state(scope, "State." .. scope) end

---------------------------------------------------------------- small things

local UNITS = { ms = 0.001, s = 1, m = 60, h = 3600 }

function S.sleep(duration)
  local seconds = type(duration) == "number" and duration or nil
  if type(duration) == "string" then
    local amount, unit = smatch(duration, "^(%d+%.?%d*)(%a+)$")
    seconds = amount and UNITS[unit] and tonumber(amount) * UNITS[unit]
  end
  if not seconds or seconds ~= seconds or seconds < 0 then
    wrong("sleep takes seconds, or a text like '500ms', '2s', '2m', '1h'; got " .. shown(duration), 'sleep(2) or sleep "500ms"')
  end
  tasks.perform("sleep", "sleep", { seconds = seconds })
end

function S.parallel(list) return (tasks.parallel(list)) end

function S.template(text, data)
  return (tasks.perform("template", "template", { text = text, data = data or setmetatable({}, OBJECT) }))
end

S.json = json

local function log(what, level, message, fields)
  tasks.perform(what, "log", { level = level, message = S.tostring(message), fields = fields })
end

S.Log = {}
for _, level in next, { "debug", "info", "warn", "error" } do
  S.Log[level] = function(message, fields) log("Log." .. level, level, message, fields) end
end

function S.print(...)
  local parts = tpack(...)
  for i = 1, parts.n do parts[i] = S.tostring(parts[i]) end
  log("print", "info", concat(parts, "\t", 1, parts.n))
end

---------------------------------------------------------------- content

local CONTENT = { __name = "content", __metatable = "content" }

local function content(parts) return setmetatable({ ["$content"] = setmetatable(parts, ARRAY) }, CONTENT) end

local function blob(what, bytes, usage)
  if type(bytes) ~= "string" then wrong(what .. ": a byte string was expected, got " .. described(bytes), usage) end
  return setmetatable({ bytes }, BLOB)
end

local function media(kind, example)
  local what = "Content." .. kind
  local usage = what .. '(bytes, "' .. example .. '")'
  return function(bytes, media_type)
    if type(media_type) ~= "string" then
      wrong(what .. " takes bytes and their media type, got " .. described(media_type), usage)
    end
    return (content({ { type = kind, data = blob(what, bytes, usage), media_type = media_type } }))
  end
end

S.Content = { image = media("image", "image/png"), audio = media("audio", "audio/wav") }

function S.Content.text(text)
  if type(text) ~= "string" then wrong("Content.text takes a text, got " .. described(text), 'Content.text "..."') end
  return (content({ { type = "text", text = text } }))
end

local RESOURCE_FIELDS = { uri = true, text = true, data = true, media_type = true, name = true }

function S.Content.resource(fields)
  local usage = 'Content.resource { uri = "...", text = "...", media_type = "text/plain" }'
  if type(fields) ~= "table" or type(fields.uri) ~= "string" then
    wrong("Content.resource takes a table with 'uri' and 'text' or 'data'", usage)
  end
  for key in next, fields do
    if not RESOURCE_FIELDS[key] then
      wrong("Content.resource has no field '" .. tostring(key) .. "': it takes uri, text, data, media_type and name", usage)
    end
  end
  local part = copy(fields)
  part.type = "resource"
  if part.data ~= nil then part.data = blob("Content.resource", part.data, usage) end
  return (content({ part }))
end

function S.Content.list(items)
  local parts = {}
  for i = 1, type(items) == "table" and rawlen(items) or 0 do
    local item = items[i]
    if type(item) == "string" then
      parts[#parts + 1] = { type = "text", text = item }
    elseif raw_metatable(item) == CONTENT then
      for _, part in next, rawget(item, "$content") do parts[#parts + 1] = part end
    else
      wrong("Content.list takes Content values and texts; item " .. i .. " is " .. described(item), 'Content.list { "text", Content.image(bytes, "image/png") }')
    end
  end
  return (content(parts))
end

---------------------------------------------------------------- ctx

local CONTEXT_FIELDS = { "run_id", "session", "user", "tenant", "deadline", "message" }
local ctx_methods = {}

function ctx_methods.progress(_, amount, total, message)
  tasks.perform("ctx:progress", "progress", { done = amount, total = total, message = message })
end

function ctx_methods.log(_, level, message, fields) log("ctx:log", level, message, fields) end

function ctx_methods.emit(_, part)
  if type(part) == "string" then part = { text = part } end
  tasks.perform("ctx:emit", "emit", { part = part })
end

local CONTEXT = { __name = "ctx", __metatable = "ctx", __index = ctx_methods }

known.environment = S
known.methods = { ctx = ctx_methods, agent = agent_methods, text = S.string }

-- Returns the `ctx` of a run.
function prelude.context(context)
  local ctx = {}
  for i = 1, #CONTEXT_FIELDS do ctx[CONTEXT_FIELDS[i]] = context[CONTEXT_FIELDS[i]] end
  return setmetatable(ctx, CONTEXT)
end

return prelude
