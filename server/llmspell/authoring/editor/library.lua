---------------------------------------------------------------- Lua's library, as far as spells have it

---@type string
_VERSION = "Lua 5.4"

---@type table<string, any>
_G = {}

---Raise an error when `value` is false or nil; else return all arguments.
---@generic T
---@param value? T
---@param message? any
---@return T
function assert(value, message, ...) end

---Raise an error: a text, or a table with `code`, `message` and `hint`.
---@param problem any
---@param level? integer
function error(problem, level) end

---@param value any
---@return any
function getmetatable(value) end

---@param table table
---@param metatable? table
---@return table
function setmetatable(table, metatable) end

---@generic T
---@param list T[]
---@return fun(list: T[], index: integer): integer, T
---@return T[]
---@return integer
function ipairs(list) end

---The fields in a fixed order: numbers, then strings by their bytes.
---@generic K, V
---@param table table<K, V>
---@return fun(table: table<K, V>, key?: K): K, V
---@return table<K, V>
function pairs(table) end

---@param table table
---@param key? any
---@return any key
---@return any value
function next(table, key) end

---Call a function and catch its error.
---@param fn function
---@return boolean ok
---@return any ...
function pcall(fn, ...) end

---@param fn function
---@param handler fun(problem: any): any
---@return boolean ok
---@return any ...
function xpcall(fn, handler, ...) end

---Write to the log of the run.
function print(...) end

---@param a any
---@param b any
---@return boolean
function rawequal(a, b) end

---@param table table
---@param key any
---@return any
function rawget(table, key) end

---@param value table|string
---@return integer
function rawlen(value) end

---@param table table
---@param key any
---@param value any
---@return table
function rawset(table, key, value) end

---Load a module of the project, once in each cast.
---@param name string
---@return any
function require(name) end

---@param index integer|"#"
---@return any ...
function select(index, ...) end

---@param value any
---@param base? integer
---@return number?
function tonumber(value, base) end

---@param value any
---@return string
function tostring(value) end

---@param value any
---@return "nil"|"number"|"string"|"boolean"|"table"|"function"|"thread"
function type(value) end

coroutine = {}

---@param fn function
---@return thread
function coroutine.create(fn) end

---@param co thread
---@return boolean ok
---@return any ...
function coroutine.resume(co, ...) end

---@return any ...
function coroutine.yield(...) end

---@param fn function
---@return function
function coroutine.wrap(fn) end

---@param co thread
---@return "running"|"suspended"|"normal"|"dead"
function coroutine.status(co) end

---@return thread
---@return boolean is_main
function coroutine.running() end

---@return boolean
function coroutine.isyieldable() end

---@param co thread
---@return boolean ok
---@return any problem
function coroutine.close(co) end

math = {}

---@type number
math.pi = 3.141592653589793

---@type number
math.huge = 0

---@type integer
math.maxinteger = 0

---@type integer
math.mininteger = 0

---@param x number
---@return number
function math.abs(x) end

---@param x number
---@return number
function math.acos(x) end

---@param x number
---@return number
function math.asin(x) end

---@param y number
---@param x? number
---@return number
function math.atan(y, x) end

---@param x number
---@return integer
function math.ceil(x) end

---@param x number
---@return number
function math.cos(x) end

---@param x number
---@return number
function math.deg(x) end

---@param x number
---@return number
function math.exp(x) end

---@param x number
---@return integer
function math.floor(x) end

---@param x number
---@param y number
---@return number
function math.fmod(x, y) end

---@param x number
---@param base? number
---@return number
function math.log(x, base) end

---@param x number
---@return number
function math.max(x, ...) end

---@param x number
---@return number
function math.min(x, ...) end

---@param x number
---@return number whole
---@return number fraction
function math.modf(x) end

---@param x number
---@return number
function math.rad(x) end

---@param low? integer
---@param high? integer
---@return number
function math.random(low, high) end

---@param x number
---@return number
function math.sin(x) end

---@param x number
---@return number
function math.sqrt(x) end

---@param x number
---@return number
function math.tan(x) end

---@param x any
---@return integer?
function math.tointeger(x) end

---@param x any
---@return "integer"|"float"|nil
function math.type(x) end

---@param a integer
---@param b integer
---@return boolean
function math.ult(a, b) end

os = {}

---Seconds since the cast began.
---@return number
function os.clock() end

---@param format? string
---@param time? integer
---@return string|table
function os.date(format, time) end

---@param a number
---@param b? number
---@return number
function os.difftime(a, b) end

---@param date? table
---@return integer
function os.time(date) end

---@class stringlib
string = {}

---@param s string
---@param from? integer
---@param to? integer
---@return integer ...
function string.byte(s, from, to) end

---@return string
function string.char(...) end

---@param s string
---@param pattern string
---@param from? integer
---@param plain? boolean
---@return integer? first
---@return integer? last
---@return any ...
function string.find(s, pattern, from, plain) end

---@param format string
---@return string
function string.format(format, ...) end

---@param s string
---@param pattern string
---@return fun(): string, any
function string.gmatch(s, pattern) end

---@param s string
---@param pattern string
---@param replacement string|table|function
---@param limit? integer
---@return string
---@return integer count
function string.gsub(s, pattern, replacement, limit) end

---@param s string
---@return integer
function string.len(s) end

---@param s string
---@return string
function string.lower(s) end

---@param s string
---@param pattern string
---@param from? integer
---@return any ...
function string.match(s, pattern, from) end

---@param format string
---@return string
function string.pack(format, ...) end

---@param format string
---@return integer
function string.packsize(format) end

---@param s string
---@param count integer
---@param separator? string
---@return string
function string.rep(s, count, separator) end

---@param s string
---@return string
function string.reverse(s) end

---@param s string
---@param from integer
---@param to? integer
---@return string
function string.sub(s, from, to) end

---@param format string
---@param s string
---@param from? integer
---@return any ...
function string.unpack(format, s, from) end

---@param s string
---@return string
function string.upper(s) end

table = {}

---@param list table
---@param separator? string
---@param from? integer
---@param to? integer
---@return string
function table.concat(list, separator, from, to) end

---@param list table
---@param position any
---@param value? any
function table.insert(list, position, value) end

---@param from table
---@param first integer
---@param last integer
---@param position integer
---@param to? table
---@return table
function table.move(from, first, last, position, to) end

---@return table
function table.pack(...) end

---@param list table
---@param position? integer
---@return any
function table.remove(list, position) end

---@param list table
---@param before? fun(a: any, b: any): boolean
function table.sort(list, before) end

---@param list table
---@param from? integer
---@param to? integer
---@return any ...
function table.unpack(list, from, to) end

utf8 = {}

---@type string
utf8.charpattern = ""

---@return string
function utf8.char(...) end

---@param s string
---@param from? integer
---@param to? integer
---@param lax? boolean
---@return integer ...
function utf8.codepoint(s, from, to, lax) end

---@param s string
---@param lax? boolean
---@return fun(): integer, integer
function utf8.codes(s, lax) end

---@param s string
---@param from? integer
---@param to? integer
---@param lax? boolean
---@return integer?
function utf8.len(s, from, to, lax) end

---@param s string
---@param n integer
---@param from? integer
---@return integer?
function utf8.offset(s, n, from) end
