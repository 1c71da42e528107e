-- The constructors of `Content`: parts of an answer that is more than text or data.
--
-- Bytes stay bytes up to the wire; on the other side they are base64 text.
local codec, errors, tasks = ...
local type, next, tostring, rawget, rawlen, setmetatable = type, next, tostring, rawget, rawlen, setmetatable
local raw_metatable = debug.getmetatable
local wrong, described, copy = tasks.misuse, errors.described, codec.copy
local ARRAY, BLOB = codec.ARRAY, codec.BLOB

local CONTENT = { __name = "content", __metatable = "content" }

local function content(parts) return setmetatable({ ["$content"] = setmetatable(parts, ARRAY) }, CONTENT) end

local function blob(what, bytes, usage)
  if type(bytes) ~= "string" then wrong(what .. ": a byte string was expected, got " .. described(bytes), usage) end
  return setmetatable({ bytes }, BLOB)
end

local function media(kind, example)
  local what = "Content." .. kind
  local usage = what .. '(bytes, "' .. example .. '")'
  return function(bytes, media_type)
    if type(media_type) ~= "string" then
      wrong(what .. " takes bytes and their media type, got " .. described(media_type), usage)
    end
    return (content({ { type = kind, data = blob(what, bytes, usage), media_type = media_type } }))
  end
end

local contents = { image = media("image", "image/png"), audio = media("audio", "audio/wav") }

function contents.text(text)
  if type(text) ~= "string" then wrong("Content.text takes a text, got " .. described(text), 'Content.text "..."') end
  return (content({ { type = "text", text = text } }))
end

local RESOURCE_FIELDS = { uri = true, text = true, data = true, media_type = true, name = true }

function contents.resource(fields)
  local usage = 'Content.resource { uri = "...", text = "...", media_type = "text/plain" }'
  if type(fields) ~= "table" or type(fields.uri) ~= "string" then
    wrong("Content.resource takes a table with 'uri' and 'text' or 'data'", usage)
  end
  for key in next, fields do
    if not RESOURCE_FIELDS[key] then
      wrong("Content.resource has no field '" .. tostring(key) .. "': it takes uri, text, data, media_type and name", usage)
    end
  end
  local part = copy(fields)
  part.type = "resource"
  if part.data ~= nil then part.data = blob("Content.resource", part.data, usage) end
  return (content({ part }))
end

function contents.list(items)
  local parts = {}
  for i = 1, type(items) == "table" and rawlen(items) or 0 do
    local item = items[i]
    if type(item) == "string" then
      parts[#parts + 1] = { type = "text", text = item }
    elseif raw_metatable(item) == CONTENT then
      for _, part in next, rawget(item, "$content") do parts[#parts + 1] = part end
    else
      wrong("Content.list takes Content values and texts; item " .. i .. " is " .. described(item), 'Content.list { "text", Content.image(bytes, "image/png") }')
    end
  end
  return (content(parts))
end

return contents
