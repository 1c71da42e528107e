-- `coroutine` for authors: whatever their coroutines do, an effect inside one travels up to its task.
local tasks = ...
local type, error, rawequal, setmetatable = type, error, rawequal, setmetatable
local co_create, co_resume, co_yield = coroutine.create, coroutine.resume, coroutine.yield
local co_status, co_close, co_running, co_isyieldable =
  coroutine.status, coroutine.close, coroutine.running, coroutine.isyieldable
local HOST = tasks.inside.HOST

local made = setmetatable({}, { __mode = "k" })
local busy = setmetatable({}, { __mode = "k" }) -- waits for an effect: nobody else may resume it

local pass

-- An effect was requested inside `co`: hand it up and bring the result down.
local function relay(co, operation, arguments, what, key)
  if not co_isyieldable() then return pass(co, co_resume(co, false, tasks.refusal(what))) end
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

local coroutines = {}

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
    local where, advice = tasks.callback()
    error("coroutine.yield cannot be called inside " .. where .. ": " .. advice, 2)
  end
  local scope = tasks.current and tasks.current.scope -- none while the file is loading
  if scope and rawequal(scope.thread, co_running()) then -- what comes after it would count as inside
    error("coroutine.yield cannot leave the function of " .. scope.title, 2)
  end
  return co_yield(...)
end

function coroutines.close(co)
  owned(co)
  return co_close(co)
end

return coroutines
