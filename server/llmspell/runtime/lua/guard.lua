-- The count hook: ends a script that computes too long, where there is no process to kill for it.
--
-- Loaded before any other part, and only into a state that asks for it: it more than doubles the
-- cost of plain computing. It does not reach into C functions (patterns, table.move) nor into a
-- message handler of xpcall that runs because of it.
local seconds = ... -- what one slice may take
local error = error
local sethook, clock = debug.sethook, os.clock
local create, resume, running = coroutine.create, coroutine.resume, coroutine.running

local STEP = 10000 -- instructions between two looks at the clock
-- The clock counts every thread of the process, so a script must also have done work of its own.
local STEPS_PER_SECOND = 20e6

local guard = {
  ended = false, -- whether the script was ended
  where = nil, -- and where it was then
  place = nil, -- returns the author's running line; set once `errors` is there
}

local steps, since = 0, 0

local function hook()
  if not guard.ended then
    steps = steps + STEP
    if steps < seconds * STEPS_PER_SECOND or clock() - since < seconds then return end
    guard.ended = true
    guard.where = guard.place()
  end
  sethook(hook, "", 1) -- whatever catches this error is ended at its next instruction
  error("the script was ended", 0)
end

-- A coroutine that resumed an ended one ends too; the scheduler, in the main thread, goes on.
local function after(...)
  if guard.ended then
    local _, is_main = running()
    if not is_main then sethook(hook, "", 1) end
  end
  return ...
end

function coroutine.create(f)
  local co = create(f)
  sethook(co, hook, "", guard.ended and 1 or STEP)
  return co
end

function coroutine.resume(co, ...) return after(resume(co, ...)) end

-- Begins a slice.
function guard.start()
  steps, since = 0, clock()
end

return guard
