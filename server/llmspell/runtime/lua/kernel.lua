-- The kernel of a script's state. It runs once, before any spell, and hands Python its controls:
-- put a frame, run until everything waits, set the frame limit. Only bytes cross.
--
-- Each part is a chunk of its own; together they are given as texts in the order below.
local load, assert, next, rawset, rawequal = load, assert, next, rawset, rawequal
local co_create, co_resume = coroutine.create, coroutine.resume
local smatch, tointeger, tunpack = string.match, math.tointeger, table.unpack
local collectgarbage = collectgarbage
local sort, utf8len = table.sort, utf8.len
local sources = { ... }

local function part(index, ...) return assert(load(sources[index], "=llmspell", "t"))(...) end

local codec = part(1)
local json = part(2, codec)
local errors = part(3, codec)
local tasks = part(4, codec, errors)
local sandbox = part(5, errors, tasks)
local prelude = part(6, codec, json, errors, tasks, sandbox)
local S = sandbox.environment
sources, part = nil, nil

local context = {}

local function optional(value)
  if rawequal(value, codec.null) then return nil end
  return value
end

local function function_free(value) return codec.encode(value) end

---------------------------------------------------------------- messages

-- Returns the file's top level as a function.
local function prepare(program)
  context = program.context
  sandbox.prepare(context, program.modules, smatch(program.name, "^(.*/)[^/]*$") or "")
  errors.main_file = program.name
  return errors.load(program.name, program.source, S)
end

-- Runs `fn` while every effect is refused; returns its result, or fails the script.
local function run_loading(fn)
  local thread = co_create(fn)
  local subject = { thread = thread }
  tasks.loading = true
  local ok, result = co_resume(thread)
  tasks.loading = false
  if ok then return true, result end
  if errors.is_out_of_memory(result) then
    tasks.out_of_memory(subject)
  else
    tasks.fail(errors.report(thread, result, "spec.invalid"))
  end
  return false
end

local handlers = {}

-- Returns the names the file mentioned while it was loaded; nothing it does later adds to them.
local function names()
  local list = json.array()
  for name in next, prelude.named do
    if utf8len(name) then list[#list + 1] = name end
  end
  prelude.named = nil
  sort(list)
  return list
end

function handlers.load(message, problem)
  local program = message[2]
  if problem then
    return tasks.fail({ code = "input.invalid", message = "the run's context cannot be passed on: " .. problem })
  end
  prelude.named = program.expected == nil and {} or nil
  local ok, declaration = run_loading(function() return prepare(program)() end)
  if not ok then return end
  local bytes, problem = codec.encode(declaration, true)
  if not bytes then
    return tasks.fail({ code = "spec.invalid", message = "the file returns something that cannot be declared: " .. problem, where = program.name })
  end
  if program.expected == nil then
    if #bytes > tasks.message_bytes - 256 then
      return tasks.fail({ code = "output.too_large", message = "the declaration is " .. #bytes .. " bytes; the limit is " .. tasks.message_bytes, where = program.name })
    end
    return tasks.emit("\x93" .. codec.encode("loaded") .. bytes .. codec.encode(names()))
  end
  if program.expected ~= bytes then
    return tasks.fail({ code = "spec.unstable", message = "the file declares something else than when it was published", where = program.name })
  end
  return tasks.emit("\x91" .. codec.encode("loaded"))
end

local function main_result(returned)
  local last = prelude.last
  return codec.encode({
    returned = returned == nil and codec.null or returned,
    has_returned = returned ~= nil,
    last = last == nil and codec.null or last,
  }, "returned")
end

function handlers.main(message, problem)
  local program = message[2]
  local chunk
  if not run_loading(function() chunk = prepare(program) end) then return end
  if problem then
    return tasks.refuse(0, { code = "input.invalid", message = "the input cannot be passed on: " .. problem })
  end
  tasks.start(0, chunk, main_result, optional(program.input), prelude.context(context))
end

function handlers.call(message, problem)
  local task, arguments = message[2], message[4]
  local fn = codec.functions[message[3]]
  if problem then
    return tasks.refuse(task, { code = "input.invalid", message = "the input cannot be passed on: " .. problem })
  end
  if not fn then
    return tasks.refuse(task, { code = "internal", message = "the script has no function of number " .. message[3] })
  end
  local count = #arguments
  for i = 1, count do arguments[i] = optional(arguments[i]) end
  if message[5] then
    count = count + 1
    arguments[count] = prelude.context(context)
  end
  tasks.start(task, fn, function_free, tunpack(arguments, 1, count))
end

function handlers.answer(message, problem)
  local ok, value = message[3], message[4]
  tasks.now = message[5] + 0.0
  if problem then
    ok, value = false, { code = "output.invalid", message = "the result cannot be passed on: " .. problem }
  end
  if not tasks.answer(message[2], ok, value) then
    tasks.fail({ code = "internal", message = "an answer to a request that is not open: " .. message[2] })
  end
end

---------------------------------------------------------------- controls for Python

local inbox
local K = {}

function K.put(frame) inbox = frame end

function K.limit(bytes) tasks.message_bytes = tointeger(bytes) end

-- Handles the frame in the inbox, one message at a time, and returns a frame of events.
function K.pump()
  local messages, problems = codec.read_frame(inbox)
  inbox = nil
  for i = 1, #messages do
    if tasks.fatal then break end
    handlers[messages[i][1]](messages[i], problems[i])
    messages[i] = nil
    tasks.run()
  end
  if tasks.fatal then
    tasks.current = nil
    collectgarbage()
  end
  return tasks.take_frame()
end

-- Returns the frame that tells why `pump` ran out of memory. Runs no script code; no limit is on.
function K.last_words()
  tasks.last_words()
  return tasks.take_frame()
end

-- Names that lupa pushes. Python keeps this table, so pushing them never has to allocate.
K.kept = { "debug", "traceback", "not enough memory" }

-- From here on the real globals hold nothing: whatever still reaches them finds nothing to use.
local globals = _G
for name in next, globals do rawset(globals, name, nil) end

return K.put, K.pump, K.limit, K.last_words, K.kept
