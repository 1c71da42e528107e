-- What a chunk of a cell is given to as a function: runs it and returns what it shows of its values.

local MAX_DEPTH, MAX_ITEMS, MAX_TEXT = 4, 50, 2000

local function quoted(text)
  if #text > MAX_TEXT then text = text:sub(1, (utf8.offset(text, 0, MAX_TEXT) or MAX_TEXT) - 1) .. "..." end
  return (string.format("%q", text):gsub("\\\n", "\\n"))
end

local show

local function shown_table(value, depth, above)
  local kind = getmetatable(value)
  if type(kind) == "string" and kind ~= "object" and kind ~= "array" then
    local name = rawget(value, "name")
    return "<" .. kind .. (type(name) == "string" and " " .. name or "") .. ">"
  end
  if above[value] then return "{ itself }" end
  if depth >= MAX_DEPTH then return next(value) == nil and "{}" or "{...}" end
  above[value] = true
  local parts, index, count = {}, 0, 0
  for key, item in pairs(value) do
    count = count + 1
    if count > MAX_ITEMS then
      parts[#parts + 1] = "..."
      break
    end
    local text = show(item, depth + 1, above)
    if key == index + 1 then
      index = key
    elseif type(key) == "string" and key:match "^[%a_][%w_]*$" then
      text = key .. " = " .. text
    else
      text = "[" .. show(key, depth + 1, above) .. "] = " .. text
    end
    parts[#parts + 1] = text
  end
  above[value] = nil
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

function show(value, depth, above)
  if value == json.null then return "json.null" end
  if type(value) == "string" then return quoted(value) end
  if type(value) ~= "table" then return tostring(value) end
  return shown_table(value, depth, above)
end

local function shown(...)
  local parts, count = {}, select("#", ...)
  while count > 1 and (select(count, ...)) == nil do count = count - 1 end
  for i = 1, count do parts[i] = show((select(i, ...)), 0, {}) end
  return table.concat(parts, "\t")
end

return function(fn) return shown(fn()) end
