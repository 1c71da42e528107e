-- What a task asks of the host, and where it cannot: every effect, and those that run side by side.
--
-- Every effect has a key: the path of the scope it is asked in, ":" and its number there. The same
-- program, given the same results in the same order, asks under the same keys in every process.
local codec, errors, tasks = ...
local type, error, pcall, rawget, rawlen, rawequal, setmetatable, next =
  type, error, pcall, rawget, rawlen, rawequal, setmetatable, next
local tostring = tostring
local co_yield, co_running, co_isyieldable = coroutine.yield, coroutine.running, coroutine.isyieldable
local tpack, tunpack = table.pack, table.unpack
local sgsub, smatch, mtype = string.gsub, string.match, math.type
local getinfo = debug.getinfo
local encode, integer = codec.encode, codec.integer
local own = tasks.inside
local HOST, enqueue, fits, new_task, new_scope = own.HOST, own.enqueue, own.fits, own.new_task, own.new_scope

local effects = {}

local function text(value) return (encode(value)) end

---------------------------------------------------------------- callbacks that cannot wait

local labels = setmetatable({}, { __mode = "k" })
local callers = {
  [string.gsub] = { "the __index of a table that string.gsub looks in", "give string.gsub a function" },
  [tostring] = { "a __tostring metamethod", "prepare the text first" },
}

-- Returns what is on the stack that nothing can wait in, and what to do instead.
function effects.callback()
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
function effects.label(fn, label, advice) labels[fn] = { label, advice } end

-- Calls `fn` so that nothing in it can wait: effects are refused, naming `label` and `advice`.
function effects.sealed(label, advice, fn, ...)
  local arguments, results = tpack(...), nil
  local function inside() results = tpack(fn(tunpack(arguments, 1, arguments.n))) end
  effects.label(inside, label, advice)
  sgsub("-", "-", inside) -- nothing can yield across a C function
  return tunpack(results, 1, results.n)
end

-- Returns the error of an effect that cannot wait where it is asked.
function effects.refusal(what)
  local where, advice = effects.callback()
  return errors.new({
    code = "spell.raised",
    message = what .. " cannot be called inside " .. where .. ": " .. advice,
  })
end

-- Raises that the author's code uses the API wrongly; `usage` shows how it is meant.
function effects.misuse(message, usage)
  local task = tasks.current
  local code = tasks.loading and "spec.invalid" or "spell.raised"
  local fields = { code = code, message = message, hint = usage and "write " .. usage }
  error(errors.new(fields, task and task.fn, smatch(message, "^[%w_%.:]*[%w_]")), 0)
end

---------------------------------------------------------------- effects

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
function effects.next_key()
  local scope = tasks.current.scope
  scope.effects = scope.effects + 1
  return scope.path .. ":" .. scope.effects, scope.effects
end

local function request(what, operation, arguments, functions_in)
  tasks.refuse_loading(what)
  if not co_isyieldable() then error(effects.refusal(what), 0) end
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
function effects.note(what, operation, arguments, key)
  local bytes = request(what, operation, arguments)
  tasks.emit("\x95" .. text("note") .. integer(tasks.current.root) .. text(operation) .. bytes .. text(key))
end

-- Requests an effect and waits. Returns whether it worked, and its result or error object.
-- `functions_in` names the argument that may hold functions (a declaration); `key` is given where
-- the effect is the second half of another.
function effects.attempt(what, operation, arguments, functions_in, key)
  local bytes, fn = request(what, operation, arguments, functions_in)
  local ok, value = co_yield(HOST, operation, bytes, what, key or effects.next_key())
  if not ok then value = errors.new(type(value) == "table" and value or { message = tostring(value) }, fn, what) end
  if rawequal(value, codec.null) then value = nil end
  return ok, value
end

-- Requests an effect and returns its result, or raises its error.
function effects.perform(what, operation, arguments, functions_in, key)
  local ok, value = effects.attempt(what, operation, arguments, functions_in, key)
  if not ok then error(value, 0) end
  return value
end

-- Calls `fn` in a scope of its own and returns whether it succeeded, and its first result or error.
-- `fields` are further ones of the scope: `title`, what authors know it as; `only`, the operations
-- that may be asked in it; `advice`, what the refusal of any other says; `transaction`.
function effects.within(path, fields, fn, ...)
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
function effects.parallel(list)
  tasks.refuse_loading("parallel")
  local parent = tasks.current
  local scope = parent.scope
  local function wrong(message) effects.misuse(message, "parallel { function() ... end, function() ... end }") end
  if type(list) ~= "table" then wrong("parallel takes a list of functions, got a " .. type(list)) end
  if not co_isyieldable() then error(effects.refusal("parallel"), 0) end
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

return effects
