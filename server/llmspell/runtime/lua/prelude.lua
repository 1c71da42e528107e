-- The spell API: what authors write. Tables for shape, functions for leaves.
--
-- Constructors only mark tables; whether a key exists is judged where the declaration is read.
local codec, known, errors, tasks, sandbox, durations, once = ...
local type, next, rawget, setmetatable = type, next, rawget, setmetatable
local tostring, tpack = tostring, table.pack
local ssub, concat = string.sub, table.concat
local raw_metatable = debug.getmetatable
local wrong, described, copy = tasks.misuse, errors.described, codec.copy
local OBJECT = codec.OBJECT

local S = sandbox.environment
local prelude = {
  last = nil, -- result of the main file's last own cast
  named = nil, -- names the file mentions while it is loaded to be published, as keys
}

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
  if tasks.current.root == 0 and not tasks.current.parent then prelude.last = result end
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

-- Read and filled in, not cast: their functions are called by the host.
S.Prompt = { create = function(fields) return (constructed("prompt", "Prompt.create", fields)) end }
S.Resource = { create = function(fields) return (constructed("resource", "Resource.create", fields)) end }

---------------------------------------------------------------- small things

local function shown(value)
  if type(value) == "number" then return tostring(value) end
  return type(value) == "string" and "'" .. ssub(value, 1, 40) .. "'" or described(value)
end

function S.sleep(duration)
  local seconds = durations.seconds(duration)
  if not seconds then wrong("sleep takes " .. durations.forms() .. "; got " .. shown(duration), 'sleep(2) or sleep "500ms"') end
  tasks.perform("sleep", "sleep", { seconds = seconds })
end

function S.parallel(list) return (tasks.parallel(list)) end

function S.template(text, data)
  return (tasks.perform("template", "template", { text = text, data = data or setmetatable({}, OBJECT) }))
end

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

---------------------------------------------------------------- ctx

local CONTEXT_FIELDS = { "run_id", "session", "user", "tenant", "deadline", "message" }
local ctx_methods = once("ctx", codec, errors, tasks, durations, log, shown)
local CONTEXT = { __name = "ctx", __metatable = "ctx" }

function CONTEXT.__index(_, name)
  CONTEXT.__index = ctx_methods() -- from now on without a call
  return CONTEXT.__index[name]
end

prelude.constructed, prelude.noted = constructed, noted
known.environment = S
function known.methods() return { ctx = ctx_methods(), agent = agent_methods, text = S.string } end

-- Returns the `ctx` of a run.
function prelude.context(context)
  local ctx = {}
  for i = 1, #CONTEXT_FIELDS do ctx[CONTEXT_FIELDS[i]] = context[CONTEXT_FIELDS[i]] end
  return setmetatable(ctx, CONTEXT)
end

return prelude
