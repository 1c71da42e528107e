-- The kernel of a script's state. It runs once, before any spell, and hands Python its controls:
-- put a frame, run until everything waits, set the frame limit. Only bytes cross.
--
-- Each part is a chunk of its own; together they are given compiled, in the order below, after
-- the seconds of the count hook (0 = none, less = the line hook). The parts of the hooks, the last
-- two, replace functions of the library before anybody takes them.
local hook_seconds, sources = (...), { select(2, ...) }
local guard = hook_seconds > 0 and load(sources[#sources], "=llmspell", "b")(hook_seconds) or nil
local coverage = hook_seconds < 0 and load(sources[#sources - 1], "=llmspell", "b")() or nil
local load, assert, next, rawset, rawequal, setmetatable = load, assert, next, rawset, rawequal, setmetatable
local co_create, co_resume = coroutine.create, coroutine.resume
local smatch, tointeger, tunpack = string.match, math.tointeger, table.unpack
local collectgarbage = collectgarbage
collectgarbage("step", -400) -- KB to go before the first cycle: most scripts never get there
local sort, utf8len = table.sort, utf8.len

-- The real globals are emptied below, and some parts are loaded after that.
local library = {}
for name, value in next, _G do library[name] = value end

local function part(index, ...) return assert(load(sources[index], "=llmspell", "b", library))(...) end

-- Returns functions that load their part when one is first called. Loading is most of what a
-- state costs, and most scripts need neither JSON text nor a hint.
local function later(index, names, ...)
  local arguments, made, found = { ... }, {}, nil
  for i = 1, #names do
    made[names[i]] = function(...)
      found = found or part(index, tunpack(arguments))
      return found[names[i]](...)
    end
  end
  return made
end

local codec = part(1)
local json = later(2, { "encode", "decode", "array", "object" }, codec)
json.null = codec.null
local known = {} -- what hints are made of
local hints = later(3, { "of" }, known)
local errors = part(4, codec, hints)
local tasks = part(5, codec, errors)
local callbacks = part(6)
local sandbox = part(7, errors, tasks, callbacks)
local durations = part(14)
local prelude = part(11, codec, known, errors, tasks, sandbox, durations)
local S = sandbox.environment
S.json = json
S.Content = later(8, { "image", "audio", "text", "resource", "list" }, codec, errors, tasks)
S.State = part(9, codec, errors, tasks, durations, later(13, { "run" }, codec, errors, tasks))
S.Schema = part(10, codec, errors, tasks)
S.Workflow = later(12, { "sequential", "parallel" }, codec, prelude.constructed, prelude.noted)

local context = {}

local function optional(value)
  if rawequal(value, codec.null) then return nil end
  return value
end

local function function_free(value) return codec.encode(value) end

---------------------------------------------------------------- messages

local program -- name, source and modules, as a frame until the first message needs it

-- Returns the file's top level as a function.
local function prepare(start)
  program = codec.read_frame(program)[1]
  context = start.context
  tasks.host_calls, tasks.steps = start.host_calls, start.steps
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
  local start = message[2]
  if problem then
    return tasks.fail({ code = "input.invalid", message = "the run's context cannot be passed on: " .. problem })
  end
  prelude.named = start.expected == nil and {} or nil
  local ok, declaration = run_loading(function() return prepare(start)() end)
  if not ok then return end
  local bytes, problem = codec.encode(declaration, true)
  if not bytes then
    return tasks.fail({ code = "spec.invalid", message = "the file returns something that cannot be declared: " .. problem, where = program.name })
  end
  if start.expected == nil then
    if #bytes > tasks.message_bytes - 256 then
      return tasks.fail({ code = "output.too_large", message = "the declaration is " .. #bytes .. " bytes; the limit is " .. tasks.message_bytes, where = program.name })
    end
    return tasks.emit("\x93" .. codec.encode("loaded") .. bytes .. codec.encode(names()))
  end
  if start.expected ~= bytes then
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
  local start = message[2]
  local chunk
  if not run_loading(function() chunk = prepare(start) end) then return end
  if problem then
    return tasks.refuse(0, { code = "input.invalid", message = "the input cannot be passed on: " .. problem })
  end
  tasks.start(0, "", chunk, main_result, optional(start.input), prelude.context(context))
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
  tasks.start(task, message[6], fn, function_free, tunpack(arguments, 1, count))
end

-- Runs a further text in this state; it does not compile before it is its turn.
function handlers.evaluate(message)
  local file, source = message[3], message[4]
  tasks.now = message[6] + 0.0
  sandbox.add_modules(message[7], smatch(file, "^(.*/)[^/]*$") or "")
  local function body() return errors.load(file, source, S)() end
  tasks.start(message[2], message[5], body, function_free)
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

if coverage then errors.loaded = coverage.loaded end

local function tell_coverage(file, lines, ran)
  local function array(list) return codec.encode(setmetatable(list, codec.ARRAY)) end
  tasks.emit("\x94" .. codec.encode("covered") .. codec.encode(file) .. array(lines) .. array(ran))
end

if guard then
  function guard.place() return errors.new({ code = "limit.wall_clock", message = "" }).where end
end

---------------------------------------------------------------- controls for Python

local inbox
local K = {}

function K.put(frame) inbox = frame end

-- Takes the script's program and the limit of a frame; comes before the first frame.
function K.begin(frame, bytes) program, tasks.message_bytes = frame, tointeger(bytes) end

-- Handles the frame in the inbox, one message at a time, and returns a frame of events.
function K.pump()
  local messages, problems = codec.read_frame(inbox)
  inbox = nil
  if guard then guard.start() end
  for i = 1, #messages do
    if tasks.fatal then break end
    handlers[messages[i][1]](messages[i], problems[i])
    messages[i] = nil
    tasks.run()
    if guard and guard.ended then
      local message = "the script computed for " .. hook_seconds .. " s without giving way"
      tasks.fail({ code = "limit.wall_clock", message = message, where = guard.where or program.name })
    end
  end
  if tasks.fatal then
    tasks.current = nil
    collectgarbage()
  elseif coverage then
    coverage.take(tell_coverage)
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

return K.begin, K.put, K.pump, K.last_words, K.kept
