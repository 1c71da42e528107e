-- The scheduler: tasks are coroutines that yield effects and are resumed with their results.
--
-- A task belongs to a call of the host (its root). `parallel` makes child tasks that share the
-- root. What a task may ask for, and how, is in effects.lua.
local codec, errors = ...
local error, rawequal = error, rawequal
local co_create, co_resume = coroutine.create, coroutine.resume
local co_status, co_close = coroutine.status, coroutine.close
local tpack, tunpack, concat = table.pack, table.unpack, table.concat
local encode, integer = codec.encode, codec.integer

local HOST = {} -- first value of every yield that is meant for the scheduler; no author ever has it

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

-- What effects and the author's coroutines are made with.
tasks.inside = { HOST = HOST, enqueue = enqueue, new_task = new_task, new_scope = new_scope, fits = fits }

return tasks
