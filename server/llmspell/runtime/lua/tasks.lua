-- The scheduler: tasks are coroutines that yield effects and are resumed with their results.
--
-- A task belongs to a call of the host (its root). `parallel` makes child tasks that share the
-- root. Whatever the author's own coroutines do, an effect inside one travels up to its task.
--
-- Every effect has a key: the path of the scope it is asked in, ":" and its number there. The same
-- program, given the same results in the same order, asks under the same keys in every process.
local codec, errors = ...
local type, error, pcall, rawget, rawlen, rawequal, setmetatable, next =
  type, error, pcall, rawget, rawlen, rawequal, setmetatable, next
local tostring = tostring
local co_create, co_resume, co_yield = coroutine.create, coroutine.resume, coroutine.yield
local co_status, co_close, co_running, co_isyieldable =
  coroutine.status, coroutine.close, coroutine.running, coroutine.isyieldable
local tpack, tunpack, concat = table.pack, table.unpack, table.concat
local sgsub, smatch, mtype = string.gsub, string.match, math.type
local getinfo = debug.getinfo
local encode, integer = codec.encode, codec.integer

local HOST = {} -- first value of every yield that is meant for the scheduler; never leaves this file

local tasks = {
  loading = false, -- every effect is refused
  now = 0.0, -- time of the last delivered answer
  message_bytes = 8 << 20,
  host_calls = math.maxinteger, -- effects the script may ask for
  steps = {}, -- keys of the steps that ended in an earlier process
  fatal = nil, -- a report that ends the whole script
  current = nil, -- the task that runs
  dying = nil, -- what ran out of memory: has a `thread`, and `fn` when it is a task
}

-- In one frame: whoever reads it does so at one go, and must not hold up others for long.
local MAX_EVENTS = 500

local ready, first, last = {}, 1, 0
local waiting, calls = {}, 0
local events, taken = {}, 0 -- the first so many events were taken

local function enqueue(task, ...)
  task.arguments = tpack(...)
  last = last + 1
  ready[last] = task
end

---------------------------------------------------------------- events

function tasks.emit(event) events[#events + 1] = event end

local function text(value) return (encode(value)) end

local function encode_report(report)
  return (encode(report)) or encode({ code = report.code, message = "an error that cannot be shown" })
end

function tasks.fail(report)
  tasks.fatal = report
  events, taken, ready, first, last, waiting = {}, 0, {}, 1, 0, {}
end

-- Ends the script because `subject` ran out of memory. When even the report needs more than there
-- is, `last_words` makes it later, without a limit.
function tasks.out_of_memory(subject)
  tasks.dying = subject
  tasks.last_words()
end

function tasks.last_words()
  local subject = tasks.dying or {}
  tasks.fail(errors.memory_report(subject.thread, subject.fn))
end

-- Returns the next events as one frame of at most `message_bytes` and `MAX_EVENTS`; what does not
-- fit waits behind a "more" event for the next frame.
function tasks.take_frame()
  if tasks.fatal then
    return "\x91\x92" .. text("failed") .. encode_report(tasks.fatal)
  end
  local size, count, n = 32, #events, 0
  for i = taken + 1, count do
    size = size + #events[i]
    if n == MAX_EVENTS or (size > tasks.message_bytes and n > 0) then break end
    n = n + 1
  end
  local has_more = taken + n < count
  local frame = codec.array_header(n + (has_more and 1 or 0)) .. concat(events, "", taken + 1, taken + n)
  if has_more then
    taken = taken + n
    return frame .. "\x91" .. text("more")
  end
  events, taken = {}, 0
  return frame
end

---------------------------------------------------------------- running

local function fits(bytes) return #bytes <= tasks.message_bytes - 256 end

local function done(task, ok, bytes)
  tasks.emit("\x94" .. text("done") .. integer(task.root) .. (ok and "\xc3" or "\xc2") .. bytes)
end

-- Ends what a task waits for, because nobody wants its result any more. It goes on no further.
local function cancel(task)
  if task.done or task.canceled then return end
  task.canceled = true
  if task.call then
    tasks.emit("\x92" .. text("cancel") .. integer(task.call)) -- it is answered all the same
  elseif task.children then
    for i = 1, #task.children do cancel(task.children[i]) end
  end
end

local function finish(task, ok, value)
  task.done, task.ok, task.value = true, ok, value
  local join = task.join
  if join then
    join.left = join.left - 1
    if not (ok or join.failed or task.canceled) then
      join.failed = task
      local siblings = join.task.children
      for i = 1, #siblings do cancel(siblings[i]) end
    end
    if join.left == 0 then
      join.task.children = nil
      enqueue(join.task, join.failed)
    end
  elseif task.parent == nil then
    if ok then
      done(task, true, value)
    else
      done(task, false, encode_report(errors.report(task.thread, value, "spell.raised", task.fn)))
    end
  end
end

local function after(task, ok, tag, operation, arguments, _, key)
  if not ok then
    if errors.is_out_of_memory(tag) then return tasks.out_of_memory(task) end
    return finish(task, false, tag)
  end
  if co_status(task.thread) == "dead" then return finish(task, true, tag) end
  if rawequal(operation, HOST) then -- a join: `arguments` are the children
    local join = { task = task, left = #arguments, failed = nil }
    for i = 1, #arguments do arguments[i].join = join end
    task.children = arguments
    return nil
  end
  if calls >= tasks.host_calls then return tasks.fail(errors.limit_report(task.thread, tasks.host_calls, task.fn)) end
  calls = calls + 1
  waiting[calls], task.call = task, calls
  local head = "\x96" .. text("request") .. integer(task.root) .. integer(calls) .. text(operation)
  return tasks.emit(head .. arguments .. text(key))
end

-- Ends a canceled task where it stands: its variables to be closed are closed, nothing else runs.
local function bury(task)
  local ok, problem = co_close(task.thread)
  if not ok and errors.is_out_of_memory(problem) then return tasks.out_of_memory(task) end
  return finish(task, false, nil) -- what went wrong meanwhile comes second to what failed first
end

-- Runs every task that can run, in order, until all wait or have ended.
function tasks.run()
  while first <= last do
    local task = ready[first]
    ready[first] = nil
    first = first + 1
    local arguments = task.arguments
    task.arguments = nil
    tasks.current = task
    if task.canceled then
      bury(task)
    else
      after(task, co_resume(task.thread, tunpack(arguments, 1, arguments.n)))
    end
  end
  first, last = 1, 0
end

-- A stretch of a task: what is counted in it (effects, forks, random numbers) is counted by itself,
-- so that what comes after a step has the same keys whether the step runs or is on record.
local function new_scope(path) return { path = path, effects = 0, forks = 0, streams = nil } end

local function new_task(root, path, fn, body)
  return { root = root, scope = new_scope(path), fn = fn, thread = co_create(body) }
end

-- Starts a root task: calls `fn` and reports what it returns.
-- `finishing(value)` returns the value's bytes, or nil and what is wrong with it.
function tasks.start(root, path, fn, finishing, ...)
  local function body(...)
    local bytes, problem = finishing(fn(...))
    if not bytes then
      local hint = "return texts, numbers, true, false, and tables of these"
      error(errors.new({ code = "output.invalid", message = "the result cannot be passed on: " .. problem, hint = hint }, fn), 0)
    end
    if not fits(bytes) then
      local message = "the result is " .. #bytes .. " bytes; the limit is " .. tasks.message_bytes
      error(errors.new({ code = "output.too_large", message = message }, fn), 0)
    end
    return bytes
  end
  enqueue(new_task(root, path, fn, body), ...)
end

-- Ends a call that cannot even begin.
function tasks.refuse(root, report) done({ root = root }, false, encode_report(report)) end

-- Hands a result to the task that waits for it. Returns whether there is one.
function tasks.answer(call, ok, value)
  local task = waiting[call]
  if not task then return false end
  waiting[call], task.call = nil, nil
  enqueue(task, ok, value)
  return true
end

---------------------------------------------------------------- callbacks that cannot wait

local labels = setmetatable({}, { __mode = "k" })
local callers = {
  [string.gsub] = { "the __index of a table that string.gsub looks in", "give string.gsub a function" },
  [tostring] = { "a __tostring metamethod", "prepare the text first" },
}

local function callback()
  local level = 3
  while true do
    local info = getinfo(level, "f")
    if not info then return "a callback of a C function", "collect first, then call it" end
    local found = labels[info.func] or callers[info.func]
    if found then return found[1], found[2] end
    level = level + 1
  end
end

-- Lets a refusal name the callback `fn`, as long as it is on the stack.
function tasks.label(fn, label, advice) labels[fn] = { label, advice } end

-- Calls `fn` so that nothing in it can wait: effects are refused, naming `label` and `advice`.
function tasks.sealed(label, advice, fn, ...)
  local arguments, results = tpack(...), nil
  local function inside() results = tpack(fn(tunpack(arguments, 1, arguments.n))) end
  tasks.label(inside, label, advice)
  sgsub("-", "-", inside) -- nothing can yield across a C function
  return tunpack(results, 1, results.n)
end

local function refusal(what)
  local where, advice = callback()
  return errors.new({
    code = "spell.raised",
    message = what .. " cannot be called inside " .. where .. ": " .. advice,
  })
end

-- Raises that the author's code uses the API wrongly; `usage` shows how it is meant.
function tasks.misuse(message, usage)
  local task = tasks.current
  local code = tasks.loading and "spec.invalid" or "spell.raised"
  local fields = { code = code, message = message, hint = usage and "write " .. usage }
  error(errors.new(fields, task and task.fn, smatch(message, "^[%w_%.:]*[%w_]")), 0)
end

---------------------------------------------------------------- effects

-- Refuses to go on while the file is loading; `what` is the author's name for the effect.
function tasks.refuse_loading(what)
  if not tasks.loading then return end
  local act = what == "cast" and "cast" or "call " .. what
  error(errors.new({
    code = "spec.effect_while_loading",
    message = "cannot " .. act .. " while the file is loading: return the spell",
    hint = "whatever acts belongs into the run function",
  }), 0)
end

-- Refuses what may not be asked where the task is: inside a transaction, nearly everything.
local function refuse_here(scope, what, operation)
  if not scope.only or scope.only[operation] then return end
  local where = "the function of " .. scope.title
  error(errors.new({
    code = "spell.raised",
    message = what .. " cannot be called inside " .. where .. ": " .. scope.advice,
  }), 0)
end

-- Returns the key of the next effect, and its number in its scope.
function tasks.next_key()
  local scope = tasks.current.scope
  scope.effects = scope.effects + 1
  return scope.path .. ":" .. scope.effects, scope.effects
end

local function request(what, operation, arguments, functions_in)
  tasks.refuse_loading(what)
  if not co_isyieldable() then error(refusal(what), 0) end
  refuse_here(tasks.current.scope, what, operation)
  local bytes, problem = encode(arguments, functions_in)
  local fn = tasks.current.fn
  if not bytes then
    local hint = "pass on texts, numbers, true, false, and tables of these"
    error(errors.new({ code = "spell.raised", message = what .. ": cannot pass on " .. problem, hint = hint }, fn, what), 0)
  end
  if not fits(bytes) then
    local message = what .. ": " .. #bytes .. " bytes; the limit is " .. tasks.message_bytes
    error(errors.new({ code = "input.too_large", message = message }, fn, what), 0)
  end
  return bytes, fn
end

-- Tells the host of an effect, and goes on at once.
function tasks.note(what, operation, arguments, key)
  local bytes = request(what, operation, arguments)
  tasks.emit("\x95" .. text("note") .. integer(tasks.current.root) .. text(operation) .. bytes .. text(key))
end

-- Requests an effect and waits. Returns whether it worked, and its result or error object.
-- `functions_in` names the argument that may hold functions (a declaration); `key` is given where
-- the effect is the second half of another.
function tasks.attempt(what, operation, arguments, functions_in, key)
  local bytes, fn = request(what, operation, arguments, functions_in)
  local ok, value = co_yield(HOST, operation, bytes, what, key or tasks.next_key())
  if not ok then value = errors.new(type(value) == "table" and value or { message = tostring(value) }, fn, what) end
  if rawequal(value, codec.null) then value = nil end
  return ok, value
end

-- Requests an effect and returns its result, or raises its error.
function tasks.perform(what, operation, arguments, functions_in, key)
  local ok, value = tasks.attempt(what, operation, arguments, functions_in, key)
  if not ok then error(value, 0) end
  return value
end

-- Calls `fn` in a scope of its own and returns whether it succeeded, and its first result or error.
-- `fields` are further ones of the scope: `title`, what authors know it as; `only`, the operations
-- that may be asked in it; `advice`, what the refusal of any other says; `transaction`.
function tasks.within(path, fields, fn, ...)
  local task = tasks.current
  local outer, scope = task.scope, new_scope(path)
  for name, value in next, fields do scope[name] = value end
  scope.thread = co_running()
  task.scope = scope
  local ok, result = pcall(fn, ...)
  task.scope = outer
  if not ok and errors.is_out_of_memory(result) then error(result, 0) end
  return ok, result
end

-- Runs functions side by side and returns their results in order, json.null for nil. When one
-- fails, what the others wait for is canceled; once all have ended, the first failure is raised.
function tasks.parallel(list)
  tasks.refuse_loading("parallel")
  local parent = tasks.current
  local scope = parent.scope
  local function wrong(message) tasks.misuse(message, "parallel { function() ... end, function() ... end }") end
  if type(list) ~= "table" then wrong("parallel takes a list of functions, got a " .. type(list)) end
  if not co_isyieldable() then error(refusal("parallel"), 0) end
  refuse_here(scope, "parallel", "parallel")
  local count = rawlen(list)
  for i = 1, count do
    local item = rawget(list, i)
    if type(item) ~= "function" then
      wrong("parallel takes a list of functions; item " .. i .. " is a " .. type(item))
    end
  end
  for key in next, list do
    if mtype(key) ~= "integer" or key < 1 or key > count then
      wrong("parallel takes a list, not named functions, and no holes in it")
    end
  end
  local results = setmetatable({}, codec.ARRAY)
  if count == 0 then return results end
  scope.forks = scope.forks + 1
  local children = {}
  for i = 1, count do
    local path = scope.path .. "/" .. scope.forks .. "." .. i
    local fn = rawget(list, i)
    local child = new_task(parent.root, path, fn, fn)
    child.parent = parent
    children[i] = child
    enqueue(child)
  end
  local failed = co_yield(HOST, HOST, children, "parallel")
  if failed then error(failed.value, 0) end
  for i = 1, count do
    local value = children[i].value
    if value == nil then value = codec.null end
    results[i] = value
  end
  return results
end

---------------------------------------------------------------- the author's own coroutines

local made = setmetatable({}, { __mode = "k" })
local busy = setmetatable({}, { __mode = "k" }) -- waits for an effect: nobody else may resume it

local pass

-- An effect was requested inside `co`: hand it up and bring the result down.
local function relay(co, operation, arguments, what, key)
  if not co_isyieldable() then return pass(co, co_resume(co, false, refusal(what))) end
  busy[co] = true
  local ok, value = co_yield(HOST, operation, arguments, what, key)
  busy[co] = nil
  return pass(co, co_resume(co, ok, value))
end

function pass(co, ok, tag, ...)
  if ok and rawequal(tag, HOST) then return relay(co, ...) end
  return ok, tag, ...
end

local function owned(co)
  if not made[co] then error("a coroutine was expected", 3) end
  if busy[co] then error("the coroutine waits for an effect of another task", 3) end
end

local coroutines = { status = co_status, running = co_running }

function coroutines.create(f)
  if type(f) ~= "function" then error("coroutine.create: a function was expected", 2) end
  local co = co_create(f)
  made[co] = true
  return co
end

function coroutines.resume(co, ...)
  owned(co)
  return pass(co, co_resume(co, ...))
end

local function unwrap(co, ok, ...)
  if ok then return ... end
  if co_status(co) == "dead" then co_close(co) end
  error((...), 0)
end

function coroutines.wrap(f)
  if type(f) ~= "function" then error("coroutine.wrap: a function was expected", 2) end
  local co = co_create(f)
  made[co] = true
  return function(...)
    owned(co)
    return unwrap(co, pass(co, co_resume(co, ...)))
  end
end

function coroutines.isyieldable() return made[co_running()] == true and co_isyieldable() end

function coroutines.yield(...)
  if not made[co_running()] then error("coroutine.yield outside a coroutine", 2) end
  if not co_isyieldable() then
    local where, advice = callback()
    error("coroutine.yield cannot be called inside " .. where .. ": " .. advice, 2)
  end
  local scope = tasks.current.scope
  if rawequal(scope.thread, co_running()) then -- what comes after it would count as inside
    error("coroutine.yield cannot leave the function of " .. scope.title, 2)
  end
  return co_yield(...)
end

function coroutines.close(co)
  owned(co)
  return co_close(co)
end

tasks.coroutines = coroutines

return tasks
