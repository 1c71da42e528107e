-- The methods of `ctx`: what a run tells, keeps and asks.
local codec, errors, tasks, durations, log, shown = ...
local type, next, error, tostring, setmetatable = type, next, error, tostring, setmetatable
local sort, mtype = table.sort, math.type
local wrong, described, copy = tasks.misuse, errors.described, codec.copy
local OBJECT = codec.OBJECT

local ctx_methods = {}

function ctx_methods.progress(_, amount, total, message)
  tasks.perform("ctx:progress", "progress", { done = amount, total = total, message = message })
end

function ctx_methods.log(_, level, message, fields) log("ctx:log", level, message, fields) end

function ctx_methods.emit(_, part)
  if type(part) == "string" then part = { text = part } end
  tasks.perform("ctx:emit", "emit", { part = part })
end

-- Runs `fn` and keeps its result: a repeated run gets that and does not run `fn` again.
function ctx_methods.step(_, name, fn)
  if type(name) ~= "string" or name == "" then
    wrong("ctx:step takes a name and a function, got " .. shown(name), 'ctx:step("name", function() ... end)')
  end
  if type(fn) ~= "function" then
    wrong("ctx:step takes a name and a function, got " .. described(fn), 'ctx:step("name", function() ... end)')
  end
  local path = tasks.current.scope.path
  local key, number = tasks.next_key()
  if tasks.steps[key] then
    local begun = tasks.perform("ctx:step", "step.begin", { name = name }, nil, key)
    if begun.recorded then return begun.value end
  else -- the host is told, and has nothing to say
    tasks.note("ctx:step", "step.begin", { name = name }, key)
  end
  local ok, result = tasks.within(path .. "/s" .. number, { title = "ctx:step" }, fn)
  if not ok then error(result, 0) end
  local value, problem = codec.plain(result)
  if problem then
    local message = "ctx:step: cannot pass on what the function of '" .. name .. "' returned: " .. problem
    error(errors.new({ code = "spell.raised", message = message }, fn), 0)
  end
  tasks.perform("ctx:step", "step.end", { name = name, value = value }, nil, key)
  return value
end

local ASK_FIELDS = { message = true, schema = true, expires = true, name = true, url = true }

-- Asks a person and returns the answer. It may come days later.
function ctx_methods.ask(_, question)
  local usage = 'ctx:ask { message = "...", schema = { ok = Schema.boolean "..." } }'
  if type(question) ~= "table" or type(question.message) ~= "string" then
    wrong("ctx:ask takes a table with a message, got " .. described(question), usage)
  end
  local unknown = {}
  for name in next, question do
    if not ASK_FIELDS[name] then unknown[#unknown + 1] = tostring(name) end
  end
  if #unknown > 0 then
    sort(unknown)
    wrong("ctx:ask has no field '" .. unknown[1] .. "': it takes message, schema, url, name and expires", usage)
  end
  local arguments = copy(question)
  if arguments.expires ~= nil then
    arguments.expires = durations.seconds(arguments.expires)
    if not arguments.expires then wrong("ctx:ask: 'expires' is " .. durations.forms() .. "; got " .. shown(question.expires), usage) end
  end
  return (tasks.perform("ctx:ask", "ask", arguments))
end

-- Sends the MCP client that casts this a request and returns its answer, or a notification.
function ctx_methods.client(_, method, params)
  local usage = 'ctx:client("roots/list", {})'
  if type(method) ~= "string" then wrong("ctx:client takes a method and a table, got " .. described(method), usage) end
  if params ~= nil and type(params) ~= "table" then
    wrong("ctx:client takes a method and a table, got " .. described(params) .. " for the table", usage)
  end
  if params == nil or next(params) == nil then params = setmetatable({}, OBJECT) end
  return (tasks.perform("ctx:client", "client", { method = method, params = params }))
end

-- Ends the run with an error of the caller's protocol, which may carry `data`.
function ctx_methods.protocol_error(_, code, message, data)
  local usage = 'ctx:protocol_error(-32602, "...")'
  if mtype(code) ~= "integer" then
    wrong("ctx:protocol_error takes a whole number and a text, got " .. shown(code) .. " for the number", usage)
  end
  if type(message) ~= "string" then
    wrong("ctx:protocol_error takes a whole number and a text, got " .. described(message) .. " for the text", usage)
  end
  error(errors.new({ code = "run.protocol_error", message = message, data = { code = code, message = message, data = data } }), 0)
end

-- Tells those who subscribed to a resource that it changed.
function ctx_methods.changed(_, uri)
  if type(uri) ~= "string" or uri == "" then
    wrong("ctx:changed takes the URI of a resource, got " .. shown(uri), 'ctx:changed("notes://today")')
  end
  tasks.perform("ctx:changed", "changed", { uri = uri })
end

-- Ends the run here and begins it anew with another input. Does not return.
function ctx_methods.continue_as_new(_, input)
  if input == nil then input = setmetatable({}, OBJECT) end
  tasks.perform("ctx:continue_as_new", "continue_as_new", { input = input })
end

return ctx_methods
