-- table.sort and string.gsub in Lua: an effect may wait inside a comparator or a replacement.
--
-- Where no function of the author is called, Lua's own versions do the work. Sorting is stable
-- and depends on nothing but the list and the comparator; Lua's own picks pivots by the clock.
local type, error, pcall, select = type, error, pcall, select
local raw_metatable = debug.getmetatable
local sfind, ssub, sbyte, smatch = string.find, string.sub, string.byte, string.match
local native_gsub, native_sort, concat = string.gsub, table.sort, table.concat
local tointeger, mtype, huge = math.tointeger, math.type, math.huge

local callbacks = {}

-- Raises `problem`, the message of a function of Lua, at the line of the author; `level` as in error.
local function fail(problem, level)
  if type(problem) ~= "string" or problem == "not enough memory" then error(problem, 0) end
  error(smatch(problem, "^%?:%-1: (.*)$") or problem, level + 1) -- the kernel has no line numbers
end

---------------------------------------------------------------- sort

-- Whether every item is an integer or every one a text: then equal items cannot be told apart,
-- no metamethod runs, and the result is the same however it is found.
local function is_plain(list, count)
  local kind = mtype(list[1]) or type(list[1])
  if kind ~= "integer" and kind ~= "string" then return false end
  for i = 2, count do
    local item = list[i]
    if (mtype(item) or type(item)) ~= kind then return false end
  end
  return true
end

local function less(a, b) return a < b end

-- Merges neighbouring runs of `width` items from one table to the other until one run is left.
-- A comparator that contradicts itself gives some order, never an error or a loss.
local function merge_sort(items, count, before)
  local spare, width = {}, 1
  while width < count do
    for first = 1, count, 2 * width do
      local middle, stop = first + width, first + 2 * width
      if middle > count + 1 then middle = count + 1 end
      if stop > count + 1 then stop = count + 1 end
      local left, right = first, middle
      for i = first, stop - 1 do
        if left < middle and (right >= stop or not before(items[right], items[left])) then
          spare[i] = items[left]
          left = left + 1
        else
          spare[i] = items[right]
          right = right + 1
        end
      end
    end
    items, spare, width = spare, items, 2 * width
  end
  return items
end

local function sort_list(list, before)
  local count = #list
  if mtype(count) ~= "integer" or count >= 0x7fffffff then error("table.sort: the list is too long", 3) end
  local items = {}
  for i = 1, count do items[i] = list[i] end
  items = merge_sort(items, count, before)
  for i = 1, count do list[i] = items[i] end
end

function callbacks.sort(list, before)
  if type(list) == "table" and type(before) == "function" then return sort_list(list, before) end
  local ok, problem
  if type(list) == "table" and before == nil and (raw_metatable(list) or not is_plain(list, #list)) then
    ok, problem = pcall(sort_list, list, less)
  else
    ok, problem = pcall(native_sort, list, before)
  end
  if not ok then fail(problem, 2) end
end

---------------------------------------------------------------- gsub

-- Takes the outcome of one search: returns where the match is and what replaces it. No value: an
-- empty match where the last one ended, which does not count.
local function replaced(text, replace, ended, ok, first, last, ...)
  if not ok then fail(first, 4) end
  if not first or (last < first and last == ended) then return first, last, nil end
  local value
  if select("#", ...) == 0 then value = replace(ssub(text, first, last)) else value = replace(...) end
  if not value then return first, last, ssub(text, first, last) end
  if type(value) ~= "string" and type(value) ~= "number" then
    error("invalid replacement value (a " .. type(value) .. ")", 4)
  end
  return first, last, value
end

local function substitute(text, pattern, replace, limit)
  local out, n, count = {}, 0, 0
  local at, kept, ended = 1, 1, -1 -- next search; first byte not in `out` yet; end of the last match
  local is_anchored = sbyte(pattern) == 94
  while count < limit do
    local first, last, value = replaced(text, replace, ended, pcall(sfind, text, pattern, at))
    if not first then break end
    if value ~= nil then
      out[n + 1], out[n + 2] = ssub(text, kept, first - 1), value
      n, count = n + 2, count + 1
      kept, ended = last + 1, last
    end
    if is_anchored then break end
    at = last < first and first + 1 or last + 1
  end
  out[n + 1] = ssub(text, kept)
  return concat(out), count
end

function callbacks.gsub(text, pattern, replace, limit)
  local has_function = type(replace) == "function"
  if not has_function or type(text) ~= "string" or type(pattern) ~= "string" or limit ~= nil then
    local ok, result, count = pcall(native_gsub, text, pattern, has_function and "" or replace, limit)
    if not ok then fail(result, 2) end
    if not has_function then return result, count end
    text, pattern = text .. "", pattern .. "" -- numbers are texts here
  end
  local result, count = substitute(text, pattern, replace, limit == nil and huge or tointeger(limit))
  return result, count
end

return callbacks
