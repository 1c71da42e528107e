---@meta llmspell
-- Written by `make docs` from what llmspell accepts. For editors; nothing here is ever run.

---------------------------------------------------------------- declarations

---Where an agent's loop ends.
---@class llmspell.AgentLimits
---@field turns? integer Model calls of one answer.
---@field tokens? integer Tokens of one answer.
---@field usd? number US dollars of one answer.
---@field seconds? number Seconds of one answer.
---@field parallel_tools? integer Tools called side by side.

---What a cast and all it begins may spend.
---@class llmspell.Budget
---@field usd? number US dollars of model calls.
---@field tokens? integer Tokens read and written by models.
---@field seconds? string|number Seconds from beginning to end, or a text like `10m`.
---@field calls? integer Model calls.
---@field tool_calls? integer Tool calls of its agents.
---@field children? integer Casts begun below this one.
---@field depth? integer How deep casts may nest below this one.

---What the code of one cast may use; the settings' limits hold besides.
---@class llmspell.Limits
---@field slice_seconds? number CPU seconds before it gives way to an effect.
---@field cpu_seconds? number CPU seconds in all.
---@field heap_bytes? integer Size of its Lua heap.
---@field host_calls? integer Effects it may ask for.
---@field log_events? integer Log lines and parts it emits.
---@field output_bytes? integer Size of its output as JSON.

---When a spell is cast by itself, and what then.
---@class llmspell.Schedule
---@field cron? string Minute, hour, day of month, month, day of week: `0 7 * * *`.
---@field every? string|number Seconds from one cast to the next, or a text like `10m`.
---@field timezone? string Time zone of `cron`, by its IANA name: `Europe/Berlin`.
---@field input? table The input.
---@field missed? "once"|"skip"|"all" Of the times that passed while nothing ran: cast once, none, or all of them.
---@field overlap? "skip"|"queue"|"parallel" While the last cast has not ended: leave it out, let it wait, or cast anyway.

---What the code of a spell may reach beyond itself.
---@class llmspell.Needs
---@field tools? llmspell.Name[] Names it may cast, besides those its file declares.

---One example of a cast.
---@class llmspell.Example
---@field input? any The input.
---@field output? any What comes of it.

---The doors a spell is published at.
---@class llmspell.Expose
---@field mcp? boolean As an MCP tool.
---@field a2a? boolean As an A2A skill.

---A model with instructions and tools.
---@class llmspell.AgentFields
---@field name? string Its name.
---@field title? string Its name for people.
---@field description? string What it does; models choose by it.
---@field model? string provider/model or a role; default from settings.
---@field system? string Its instructions.
---@field tools? (llmspell.Name|llmspell.Castable)[] What it may call: names, or spells, agents and tools themselves.
---@field output? llmspell.Fields Schema of a structured answer.
---@field limits? llmspell.AgentLimits Where its loop ends.
---@field temperature? number Sampling temperature.
---@field max_tokens? integer Longest answer of one model call.

---A spell: what it is called, what it takes and gives, and how it runs.
---Exactly one of `run`, `workflow` and `agent`.
---@class llmspell.SpellFields
---@field name? string Its name; default: the file's.
---@field title? string Its name for people.
---@field description? string What it does; models choose by it.
---@field input? llmspell.Fields Input schema.
---@field params? llmspell.Fields The same as `input`.
---@field output? llmspell.Fields Output schema.
---@field run? fun(input: any, ctx: llmspell.Context): any The function that does it.
---@field workflow? llmspell.Workflow The workflow that does it.
---@field agent? llmspell.Agent The agent that does it.
---@field budget? llmspell.Budget What a cast may spend.
---@field limits? llmspell.Limits What one cast's code may use.
---@field schedule? string|llmspell.Schedule When it is cast by itself: a cron expression, or a table.
---@field concurrency? integer Casts of it at the same time; more wait for their turn.
---@field needs? llmspell.Needs What its code may reach.
---@field wait? number How long a caller waits before `when_long` decides; the setting `runs.wait`.
---@field when_long? "handle"|"wait"|"fail" What a caller gets then: a handle of the run, more waiting, or an error.
---@field detached? boolean It goes on when every caller has left.
---@field join? boolean The same cast at the same time is cast once, and shared.
---@field task? "optional"|"required"|"never" Whether a client that knows tasks gets one of it.
---@field icon? string An https or data URL of an image that shows it.
---@field read_only? boolean It changes nothing.
---@field destructive? boolean It may delete or overwrite.
---@field idempotent? boolean Casting twice is as casting once.
---@field open_world? boolean It reaches beyond this server.
---@field tags? string[] Words to find it by.
---@field examples? llmspell.Example[] Examples of casts.
---@field expose? llmspell.Expose Where it is published.
---@field prompt? boolean|string Whether it is a prompt too: true, or a text like `Sum up {{input.topic}}`.
---@field prompts? llmspell.Prompt[] Prompts that come with it, made by `Prompt.create`.
---@field resources? llmspell.Resource[] Resources that come with it, made by `Resource.create`.

---A spell: what it is called, what it takes and gives, and how it runs.
---@class llmspell.ToolFields
---@field name? string Its name; default: the file's.
---@field title? string Its name for people.
---@field description? string What it does; models choose by it.
---@field input? llmspell.Fields Input schema.
---@field params? llmspell.Fields The same as `input`.
---@field output? llmspell.Fields Output schema.
---@field run? fun(input: any, ctx: llmspell.Context): any The function that does it.
---@field budget? llmspell.Budget What a cast may spend.
---@field limits? llmspell.Limits What one cast's code may use.
---@field concurrency? integer Casts of it at the same time; more wait for their turn.
---@field needs? llmspell.Needs What its code may reach.
---@field wait? number How long a caller waits before `when_long` decides; the setting `runs.wait`.
---@field when_long? "handle"|"wait"|"fail" What a caller gets then: a handle of the run, more waiting, or an error.
---@field detached? boolean It goes on when every caller has left.
---@field join? boolean The same cast at the same time is cast once, and shared.
---@field task? "optional"|"required"|"never" Whether a client that knows tasks gets one of it.
---@field icon? string An https or data URL of an image that shows it.
---@field read_only? boolean It changes nothing.
---@field destructive? boolean It may delete or overwrite.
---@field idempotent? boolean Casting twice is as casting once.
---@field open_world? boolean It reaches beyond this server.
---@field tags? string[] Words to find it by.
---@field examples? llmspell.Example[] Examples of casts.
---@field expose? llmspell.Expose Where it is published.
---@field prompt? boolean|string Whether it is a prompt too: true, or a text like `Sum up {{input.topic}}`.
---@field prompts? llmspell.Prompt[] Prompts that come with it, made by `Prompt.create`.
---@field resources? llmspell.Resource[] Resources that come with it, made by `Resource.create`.

---A text for a model that a person fills in and sends.
---@class llmspell.PromptFields
---@field name? string Its name; default: the file's.
---@field title? string Its name for people.
---@field description? string What it is for.
---@field arguments? llmspell.Fields What is filled in.
---@field messages? string|fun(arguments: table, ctx: llmspell.Context): any A text with placeholders like `{{input.topic}}`, or a function that returns a text, `Content.*`, or a list of `{ role =, text = | content = }`.
---@field icon? string An https or data URL of an image that shows it.

---Something to read, or a template of such.
---@class llmspell.ResourceFields
---@field name? string Its name; default: the file's.
---@field title? string Its name for people.
---@field description? string What it holds.
---@field uri? string Its URI.
---@field template? string Or a template of URIs, like `notes://{name}`.
---@field params? llmspell.Fields The variables of the template; all are texts by default.
---@field media_type? string What it is; default: by what `read` returns.
---@field icon? string An https or data URL of an image that shows it.
---@field read? fun(params: table, ctx: llmspell.Context): any Returns a text, `Content.*`, or a table that is shown as JSON.

---------------------------------------------------------------- what is cast

---The name of something published.
---@alias llmspell.Name string

---Anything that can be cast: a spell, an agent, a tool or a workflow.
---@class llmspell.Castable
local Castable = {}

---Cast it and return its output.
---@param input? any
---@return any
function Castable:cast(input) end

---@class llmspell.Spell: llmspell.Castable

Spell = {}

---Declare a spell. A file returns one.
---@param fields llmspell.SpellFields
---@return llmspell.Spell
function Spell.create(fields) end

---Find a published spell.
---@param name llmspell.Name
---@return llmspell.Spell
function Spell.get(name) end

---@class llmspell.Tool: llmspell.Castable

Tool = {}

---Declare a tool: a spell that agents call.
---@param fields llmspell.ToolFields
---@return llmspell.Tool
function Tool.create(fields) end

---Find a published tool.
---@param name llmspell.Name
---@return llmspell.Tool
function Tool.get(name) end

---What `run` is given beside its input.
---@class llmspell.Context
---@field run_id string
---@field session string
---@field user string
---@field tenant string
---@field deadline? number Unix time at which the cast is stopped
---@field message? table What the caller sent beyond the input
local Context = {}

---Say how far the cast is.
---@param done number
---@param total? number
---@param message? string
function Context:progress(done, total, message) end

---Write to the log of the run.
---@param level "debug"|"info"|"warn"|"error"
---@param message string
---@param fields? table
function Context:log(level, message, fields) end

---Stream a piece of the answer: a text, or a part with `text` or `data`.
---@param part string|{ text?: string, data?: any, name?: string, media_type?: string, append?: boolean, last?: boolean }
function Context:emit(part) end

---Run a function and record its result: a run that goes on after a restart gets that, and does not run it again.
---@param name string
---@param fn fun(): any
---@return any
function Context:step(name, fn) end

---A question to a person.
---@class llmspell.Question
---@field message string
---@field schema? llmspell.Fields What the answer looks like; without it `{ ok = true or false }`
---@field url? string Page that the person opens instead of filling in a form; the answer is then `{}`
---@field name? string What clients call the question, where they name questions
---@field expires? number|string How long it stands: seconds, or a text like "24h"

---Ask a person, through whichever door, and wait for the answer. `ask.declined` and `ask.expired` can be caught.
---@param question llmspell.Question
---@return table answer
function Context:ask(question) end

---Send the MCP client that casts this a request, and wait for its answer; or a notification, whose
---method begins with "notifications/". Fails where the cast came from something else.
---@param method string
---@param params? table
---@return any answer
function Context:client(method, params) end

---End here with an error of the caller's protocol instead of a failed cast. Does not return.
---@param code integer
---@param message string
---@param data? any What the error carries besides
function Context:protocol_error(code, message, data) end

---Tell those who subscribed to a resource that it changed.
---@param uri string
function Context:changed(uri) end

---End here and begin the run anew with another input and an empty history. Does not return.
---@param input? any
function Context:continue_as_new(input) end

---------------------------------------------------------------- agents

---What an agent's answer brings.
---@class llmspell.AgentResult
---@field text string
---@field output? any The answer as `output` of the agent declares it
---@field usage { input_tokens: integer, output_tokens: integer, calls: integer, usd?: number }
---@field messages table[] The conversation, to go on with
---@field stopped string Why its loop ended: "done", or the limit it met

---@class llmspell.Agent: llmspell.Castable
local AgentMethods = {}

---Ask and return the answer's text.
---@param prompt string
---@return string
function AgentMethods:ask(prompt) end

---Ask and return everything about the answer.
---@param options string|{ prompt: any, messages?: table[], stream?: boolean }
---@return llmspell.AgentResult
function AgentMethods:run(options) end

Agent = {}

---Declare an agent: a model with instructions and tools.
---@param fields llmspell.AgentFields
---@return llmspell.Agent
function Agent.create(fields) end

---Find a published agent.
---@param name llmspell.Name
---@return llmspell.Agent
function Agent.get(name) end

---------------------------------------------------------------- workflows

---One step: exactly one of `agent`, `tool`, `spell` and `workflow`.
---@class llmspell.StepFields
---@field name? string Name of its result in `{{results.NAME}}`
---@field agent? llmspell.Name|llmspell.Agent
---@field tool? llmspell.Name|llmspell.Castable
---@field spell? llmspell.Name|llmspell.Castable
---@field workflow? llmspell.Name|llmspell.Workflow
---@field prompt? string What to tell an agent; `{{input.x}}`, `{{previous}}`, `{{results.x}}` are filled in
---@field input? any What to cast it with
---@field args? table What to cast a tool with
---@field tools? (llmspell.Name|llmspell.Castable)[] Tools the agent gets instead of its own

---What a function that is a step is given.
---@alias llmspell.Run { input: any, previous: any, results: table<string, any> }

---@alias llmspell.Step llmspell.Name|llmspell.Castable|llmspell.StepFields|fun(run: llmspell.Run): any

---@class llmspell.SequentialFields
---@field type? "sequential"
---@field name? string
---@field description? string
---@field steps? llmspell.Step[]
---@field [integer] llmspell.Step

---@class llmspell.ParallelFields
---@field type? "parallel"
---@field name? string
---@field description? string
---@field limit? integer Steps at work at the same time
---@field branches? table<string, llmspell.Step> Steps by the name of their result
---@field steps? llmspell.Step[]
---@field [integer] llmspell.Step
---@field [string] llmspell.Step

---@class llmspell.Workflow: llmspell.Castable

Workflow = {}

---Steps one after the other; the last result is the result.
---@param fields llmspell.SequentialFields
---@return llmspell.Workflow
function Workflow.sequential(fields) end

---Steps side by side; the result has one field a branch, or is a list.
---@param fields llmspell.ParallelFields
---@return llmspell.Workflow
function Workflow.parallel(fields) end

---------------------------------------------------------------- prompts and resources

---A text for a model that a person fills in and sends.
---@class llmspell.Prompt

Prompt = {}

---Declare a prompt. A file returns one, or a spell lists it in `prompts`.
---@param fields llmspell.PromptFields
---@return llmspell.Prompt
function Prompt.create(fields) end

---Something to read.
---@class llmspell.Resource

Resource = {}

---Declare a resource, or a template of resources. A file returns one, or a spell lists it in `resources`.
---@param fields llmspell.ResourceFields
---@return llmspell.Resource
function Resource.create(fields) end

---------------------------------------------------------------- schemas

---A value made by `Schema.*`.
---@class llmspell.Schema

---@alias llmspell.Fields table<string, llmspell.Schema|table>

---Further keys are keywords of JSON Schema.
---@class llmspell.SchemaOptions
---@field optional? boolean
---@field default? any
---@field min? number Least value, length or number of items
---@field max? number Largest value, length or number of items
---@field pattern? string
---@field complete? fun(value: string, context: table, ctx: llmspell.Context): string[] What a value may go on to; `context` holds the other values
---@field [string] any

Schema = {}

---A text.
---@param about? string
---@param options? llmspell.SchemaOptions
---@return llmspell.Schema
function Schema.string(about, options) end

---A whole number.
---@param about? string
---@param options? llmspell.SchemaOptions
---@return llmspell.Schema
function Schema.integer(about, options) end

---A number.
---@param about? string
---@param options? llmspell.SchemaOptions
---@return llmspell.Schema
function Schema.number(about, options) end

---True or false.
---@param about? string
---@param options? llmspell.SchemaOptions
---@return llmspell.Schema
function Schema.boolean(about, options) end

---Any value.
---@param about? string
---@param options? llmspell.SchemaOptions
---@return llmspell.Schema
function Schema.any(about, options) end

---One of these values.
---@param values any[]
---@param about? string
---@param options? llmspell.SchemaOptions
---@return llmspell.Schema
function Schema.enum(values, about, options) end

---A list whose items all have this schema.
---@param of llmspell.Schema|table
---@param about? string
---@param options? llmspell.SchemaOptions
---@return llmspell.Schema
function Schema.list(of, about, options) end

---An object with these fields.
---@param fields llmspell.Fields
---@param about? string
---@param options? llmspell.SchemaOptions
---@return llmspell.Schema
function Schema.object(fields, about, options) end

---------------------------------------------------------------- state

---Values that outlive the cast. A dot or a colon calls a method.
---@class llmspell.StateScope
local StateScope = {}

---Read a key: its value, or the default, and its version.
---@param key string
---@param default? any
---@return any value
---@return string? version
---@overload fun(self: llmspell.StateScope, key: string, default?: any): any, string?
function StateScope.get(key, default) end

---Write a key, with `if_version` only while it has that version ("" = is absent), with `ttl` for so long.
---@param key string
---@param value any
---@param options? { if_version?: string, ttl?: number|string }
---@return string version
---@overload fun(self: llmspell.StateScope, key: string, value: any, options?: { if_version?: string, ttl?: number|string }): string
function StateScope.set(key, value, options) end

---Delete a key.
---@param key string
---@return boolean was_there
---@overload fun(self: llmspell.StateScope, key: string): boolean
function StateScope.delete(key) end

---Add to a number; an absent one is 0.
---@param key string
---@param by? number
---@return number
---@overload fun(self: llmspell.StateScope, key: string, by?: number): number
function StateScope.increment(key, by) end

---Read, change, write; again when somebody else wrote meanwhile.
---@param key string
---@param change fun(value: any): any
---@return any value
---@return string version
---@overload fun(self: llmspell.StateScope, key: string, change: fun(value: any): any): any, string
function StateScope.update(key, change) end

---Read the keys under a prefix, in order, and where the next page begins.
---@param prefix? string
---@param options? { after?: string, limit?: integer, reverse?: boolean }
---@return { key: string, value: any, version: string }[] items
---@return string? next
---@overload fun(self: llmspell.StateScope, prefix?: string, options?: { after?: string, limit?: integer, reverse?: boolean }): table[], string?
function StateScope.scan(prefix, options) end

---What happened to a key. With `resync`, changes were missed: read the prefix again.
---@class llmspell.Change
---@field key? string
---@field value? any
---@field version string
---@field deleted boolean
---@field resync? boolean

---Go through the changes under a prefix as they come: `for change in State.watch("inbox/") do`. Begins with the first turn of the loop, or behind `since`, a version; ends when none comes within `timeout`.
---@param prefix? string
---@param options? { since?: string, timeout?: number|string }
---@return fun(): llmspell.Change?
---@overload fun(self: llmspell.StateScope, prefix?: string, options?: { since?: string, timeout?: number|string }): fun(): llmspell.Change?
function StateScope.watch(prefix, options) end

---The spell's own state; `session`, `user` and `shared` reach further, `run` ends with the run.
---@class llmspell.State: llmspell.StateScope
---@field session llmspell.StateScope
---@field user llmspell.StateScope
---@field shared llmspell.StateScope
---@field run llmspell.StateScope
State = {}

---Read and write state of any scope as of one moment: all writes of the function or none. It may run more than once, so nothing in it may act.
---@param fn fun(): any
---@param options? { attempts?: integer }
---@return any
function State.transaction(fn, options) end

---------------------------------------------------------------- content

Content = {}

---@param text string
---@return table
function Content.text(text) end

---@param bytes string
---@param media_type string For example "image/png"
---@return table
function Content.image(bytes, media_type) end

---@param bytes string
---@param media_type string For example "audio/wav"
---@return table
function Content.audio(bytes, media_type) end

---@param fields { uri: string, text?: string, data?: string, media_type?: string }
---@return table
function Content.resource(fields) end

---Several parts, in order.
---@param items (string|table)[]
---@return table
function Content.list(items) end

---------------------------------------------------------------- small things

---Run functions side by side and return their results in order.
---@param functions (fun(): any)[]
---@return any[]
function parallel(functions) end

---Wait: seconds, or a text like "500ms", "2s", "2m", "1h", "3d".
---@param duration number|string
function sleep(duration) end

---Unix time of the last result the spell was given.
---@return number
function now() end

---A number from 0 to 1, or a whole number from 1 to `low`, or from `low` to `high`.
---@param low? integer
---@param high? integer
---@return number
function random(low, high) end

---A new unique id.
---@return string
function uuid() end

---Fill the `{{placeholders}}` of a text.
---@param text string
---@param data? table
---@return any
function template(text, data) end

json = {}

---What stands for null inside lists and objects.
---@type any
json.null = nil

---@param value any
---@return string
function json.encode(value) end

---@param text string
---@return any
function json.decode(text) end

---Mark a table as a list, so that an empty one is `[]`.
---@param items? any[]
---@return any[]
function json.array(items) end

---Mark a table as an object, so that an empty one is `{}`.
---@param fields? table
---@return table
function json.object(fields) end

Log = {}

---@param message any
---@param fields? table
function Log.debug(message, fields) end

---@param message any
---@param fields? table
function Log.info(message, fields) end

---@param message any
---@param fields? table
function Log.warn(message, fields) end

---@param message any
---@param fields? table
function Log.error(message, fields) end

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
