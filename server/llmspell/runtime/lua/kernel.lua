-- The kernel of a script's state. It runs once, before any spell, and hands Python its controls:
-- put a frame, run until everything waits, set the frame limit. Only bytes cross.
--
-- What every script needs is in `core`, functions that are compiled together with this. The rest
-- comes as chunks of its own, in this `order`: most scripts need few of them, and to load them all
-- would be most of what a state costs; only what is made once for many scripts loads them all. A
-- chunk that is loaded later runs in the library as it was before any spell, which no spell can reach.
local core, order, hook_seconds = ...
local library, sources = {}, {}
for i = 1, #order do sources[order[i]] = select(3 + i, ...) end
local load = load

-- They replace functions of the library before anybody takes them.
local guard = hook_seconds > 0 and load(sources.guard, "=llmspell", "b")(hook_seconds) or nil
local coverage = hook_seconds < 0 and load(sources.coverage, "=llmspell", "b")() or nil
local assert, next, type, rawget, rawset = assert, next, type, rawget, rawset
local rawequal, setmetatable = rawequal, setmetatable
local co_create, co_resume = coroutine.create, coroutine.resume
local smatch, tointeger, tpack, tunpack = string.match, math.tointeger, table.pack, table.unpack
local collectgarbage = collectgarbage
local UNTIL_GC = -400 -- KB to go before the first cycle: most scripts never get there
collectgarbage("step", UNTIL_GC)
local sort, utf8len = table.sort, utf8.len

-- The real globals are emptied below.
for name, value in next, _G do library[name] = value end

local parts = {} -- what `once` returned

-- Returns a function that returns what a part returns; its first call loads it.
local function once(name, ...)
  local arguments, found = tpack(...), nil
  local function part()
    found = found or assert(load(sources[name], "=llmspell", "b", library))(tunpack(arguments, 1, arguments.n))
    return found
  end
  parts[#parts + 1] = part
  return part
end

-- Returns functions of a part; the first call of one loads it.
local function later(name, functions, ...)
  local whole, made = once(name, ...), {}
  for i = 1, #functions do
    local key = functions[i]
    made[key] = function(...) return whole()[key](...) end
  end
  return made
end

-- Adds functions of a part to a table of the kernel's own.
local function extend(module, name, functions, ...)
  for key, fn in next, later(name, functions, ...) do module[key] = fn end
end

local codec = core.codec()
local json = later("json", { "encode", "decode", "array", "object" }, codec)
json.null = codec.null
local known = {} -- what hints are made of
local errors = core.errors()
extend(errors, "reports", { "definition", "report", "limit_report", "memory_report" }, codec, later("hints", { "of" }, known), errors)
local tasks = core.tasks(codec, errors)
extend(tasks, "effects", {
  "attempt", "callback", "label", "misuse", "next_key", "note", "parallel", "perform", "refusal", "sealed", "within",
}, codec, errors, tasks)
local sandbox = core.sandbox(errors, tasks, later)
local durations = later("durations", { "forms", "seconds" })
local prelude = core.prelude(codec, known, errors, tasks, sandbox, durations, once)
local S = sandbox.environment
S.json = json
S.Content = later("content", { "image", "audio", "text", "resource", "list" }, codec, errors, tasks)
local transactions = later("transactions", { "run" }, codec, errors, tasks)
S.State = core.state(function(methods) return later("state_methods", methods, codec, errors, tasks, durations, transactions) end)
S.Schema = core.schemas(codec, errors, tasks)
S.Workflow = later("workflows", { "sequential", "parallel" }, codec, prelude.constructed, prelude.noted)

local context = {}

local function optional(value)
  if rawequal(value, codec.null) then return nil end
  return value
end

local function function_free(value) return codec.encode(value) end

---------------------------------------------------------------- messages

local program -- name, source and modules, as a frame until the first message needs it
local ahead -- the declaration as bytes, when the file was loaded before its script came

-- Takes what differs from script to script of a program.
local function take(start)
  context = start.context
  tasks.host_calls, tasks.steps = start.host_calls, start.steps
  sandbox.prepare(context)
end

-- Returns the file's top level as a function. It can tell no script of its program from another.
local function top_level()
  program = codec.read_frame(program)[1]
  sandbox.add_modules(program.modules or {}, smatch(program.name, "^(.*/)[^/]*$") or "")
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
  take(start)
  if ahead then return tasks.emit("\x91" .. codec.encode("loaded")) end
  prelude.named = start.expected == nil and {} or nil
  local ok, declaration = run_loading(function() return top_level()() end)
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

local CASTABLE = { spell = true, agent = true, tool = true, workflow = true }

local function main_result(returned)
  local last = prelude.last
  local is_castable = type(returned) == "table" and CASTABLE[rawget(returned, "$kind")]
  return codec.encode({
    returned = returned == nil and codec.null or returned,
    has_returned = returned ~= nil,
    last = last == nil and codec.null or last,
  }, is_castable and "returned" or nil) -- in a result, a function means nothing to anybody
end

function handlers.main(message, problem)
  local start = message[2]
  local chunk
  take(start)
  if not run_loading(function() chunk = top_level() end) then return end
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
function K.begin(frame, bytes)
  if not ahead then program = frame end
  tasks.message_bytes = tointeger(bytes)
end

-- Loads the program's file before any script of it has come. Returns whether that was possible.
function K.load()
  local ok, declaration = run_loading(function() return top_level()() end)
  if ok then ahead = codec.encode(declaration, true) end
  return ahead ~= nil
end

-- Returns whether the first message of a script is the one that `K.load` did the work of.
local function is_ahead_of(message)
  return message ~= nil and message[1] == "load" and message[2].expected == ahead
end

local is_first = true -- no frame has come

-- Handles the frame in the inbox, one message at a time, and returns a frame of events; or nil,
-- and has done nothing, where another script was to come.
function K.pump()
  local messages, problems = codec.read_frame(inbox)
  inbox = nil
  if ahead and is_first and not is_ahead_of(messages[1]) then return nil end
  is_first = false
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

-- Loads every part now: for a state that is set back after each script, and so made only once.
function K.complete()
  local i = 1
  while parts[i] do -- a part may add others
    parts[i]()
    i = i + 1
  end
  for name in next, sources do sources[name] = nil end
  collectgarbage()
  collectgarbage("step", UNTIL_GC)
end

-- Names that lupa pushes. Python keeps this table, so pushing them never has to allocate.
K.kept = { "debug", "traceback", "not enough memory" }

-- From here on the real globals hold nothing: whatever still reaches them finds nothing to use.
local globals = _G
for name in next, globals do rawset(globals, name, nil) end

return K.begin, K.put, K.pump, K.last_words, K.load, K.complete, K.kept
