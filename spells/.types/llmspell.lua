---@meta llmspell
-- What a spell can use, for editors that speak LuaLS. Nothing here is ever run.

---------------------------------------------------------------- declarations

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
---@param part string|table
function Context:emit(part) end

---A value made by `Schema.*`.
---@class llmspell.Schema

---@alias llmspell.Fields table<string, llmspell.Schema|table>

---Anything that can be cast: a spell, an agent, a tool or a workflow.
---@class llmspell.Castable
local Castable = {}

---Cast it and return its output.
---@param input? any
---@return any
function Castable:cast(input) end

---What a cast and all it begins may spend.
---@class llmspell.Budget
---@field usd? number
---@field tokens? integer
---@field seconds? number
---@field calls? integer
---@field depth? integer

---@class llmspell.Needs
---@field tools? string[] Names it may cast, besides those its file declares

---Exactly one of `run`, `workflow` and `agent`.
---@class llmspell.SpellFields
---@field name? string Default: the file's name
---@field title? string
---@field description? string Default: the comment at the top of the file
---@field input? llmspell.Fields
---@field params? llmspell.Fields The same as `input`
---@field output? llmspell.Fields
---@field run? fun(input: any, ctx: llmspell.Context): any
---@field workflow? llmspell.Workflow
---@field agent? llmspell.Agent
---@field budget? llmspell.Budget
---@field needs? llmspell.Needs
---@field read_only? boolean
---@field destructive? boolean
---@field idempotent? boolean
---@field open_world? boolean
---@field tags? string[]
---@field examples? { input: any, output?: any }[]
---@field expose? { mcp?: boolean, a2a?: boolean }

---@class llmspell.Spell: llmspell.Castable

Spell = {}

---Declare a spell. A file returns one.
---@param fields llmspell.SpellFields
---@return llmspell.Spell
function Spell.create(fields) end

---Find a published spell.
---@param name string
---@return llmspell.Spell
function Spell.get(name) end

Tool = {}

---Declare a tool: a spell that agents call.
---@param fields llmspell.SpellFields
---@return llmspell.Castable
function Tool.create(fields) end

---Find a published tool.
---@param name string
---@return llmspell.Castable
function Tool.get(name) end

---------------------------------------------------------------- agents

---@class llmspell.AgentFields
---@field name? string
---@field title? string
---@field description? string
---@field model? string provider/model or a role; default from the settings
---@field system? string Its instructions
---@field tools? (string|llmspell.Castable)[]
---@field output? llmspell.Fields
---@field limits? { turns?: integer, tokens?: integer, usd?: number, seconds?: number, parallel_tools?: integer }
---@field temperature? number
---@field max_tokens? integer

---@class llmspell.AgentResult
---@field text string
---@field output? any
---@field usage { input_tokens: integer, output_tokens: integer, calls: integer, usd?: number }
---@field messages table[]
---@field stopped string

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
---@param name string
---@return llmspell.Agent
function Agent.get(name) end

---------------------------------------------------------------- workflows

---@class llmspell.StepFields
---@field name? string
---@field agent? string|llmspell.Agent
---@field tool? string|llmspell.Castable
---@field spell? string|llmspell.Castable
---@field workflow? string|llmspell.Castable
---@field prompt? string
---@field input? any
---@field args? table
---@field tools? (string|llmspell.Castable)[]

---@alias llmspell.Run { input: any, previous: any, results: table<string, any> }
---@alias llmspell.Step string|llmspell.Castable|llmspell.StepFields|fun(run: llmspell.Run): any

---@class llmspell.Workflow: llmspell.Castable

Workflow = {}

---Steps one after the other; the last result is the result.
---@param steps llmspell.Step[]|{ name?: string, steps?: llmspell.Step[] }
---@return llmspell.Workflow
function Workflow.sequential(steps) end

---Steps side by side; the result has one field a branch, or is a list.
---@param fields llmspell.Step[]|{ name?: string, limit?: integer, branches?: table<string, llmspell.Step>, steps?: llmspell.Step[] }
---@return llmspell.Workflow
function Workflow.parallel(fields) end

---------------------------------------------------------------- schemas

---@class llmspell.SchemaOptions
---@field optional? boolean
---@field default? any
---@field min? number Least value, length or number of items
---@field max? number
---@field pattern? string

Schema = {}

---@param about? string
---@param options? llmspell.SchemaOptions
---@return llmspell.Schema
function Schema.string(about, options) end

---@param about? string
---@param options? llmspell.SchemaOptions
---@return llmspell.Schema
function Schema.integer(about, options) end

---@param about? string
---@param options? llmspell.SchemaOptions
---@return llmspell.Schema
function Schema.number(about, options) end

---@param about? string
---@param options? llmspell.SchemaOptions
---@return llmspell.Schema
function Schema.boolean(about, options) end

---@param about? string
---@param options? llmspell.SchemaOptions
---@return llmspell.Schema
function Schema.any(about, options) end

---@param values any[]
---@param about? string
---@param options? llmspell.SchemaOptions
---@return llmspell.Schema
function Schema.enum(values, about, options) end

---@param of llmspell.Schema|table
---@param about? string
---@param options? llmspell.SchemaOptions
---@return llmspell.Schema
function Schema.list(of, about, options) end

---@param fields llmspell.Fields
---@param about? string
---@param options? llmspell.SchemaOptions
---@return llmspell.Schema
function Schema.object(fields, about, options) end

---------------------------------------------------------------- state

---Values that outlive the cast. A dot or a colon calls a method.
---@class llmspell.StateScope
local StateScope = {}

---@param key string
---@param default? any
---@return any value
---@return string? version
---@overload fun(self: llmspell.StateScope, key: string, default?: any): any, string?
function StateScope.get(key, default) end

---@param key string
---@param value any
---@param options? { if_version?: string }
---@return string version
---@overload fun(self: llmspell.StateScope, key: string, value: any, options?: table): string
function StateScope.set(key, value, options) end

---@param key string
---@return boolean was_there
---@overload fun(self: llmspell.StateScope, key: string): boolean
function StateScope.delete(key) end

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

---@param prefix? string
---@param options? { after?: string, limit?: integer, reverse?: boolean }
---@return { key: string, value: any, version: string }[] items
---@return string? next
---@overload fun(self: llmspell.StateScope, prefix?: string, options?: table): table[], string?
function StateScope.scan(prefix, options) end

---The spell's own state; `session`, `user` and `shared` reach further.
---@class llmspell.State: llmspell.StateScope
---@field session llmspell.StateScope
---@field user llmspell.StateScope
---@field shared llmspell.StateScope
State = {}

---------------------------------------------------------------- content

Content = {}

---@param text string
---@return table
function Content.text(text) end

---@param bytes string
---@param mime_type string
---@return table
function Content.image(bytes, mime_type) end

---@param bytes string
---@param mime_type string
---@return table
function Content.audio(bytes, mime_type) end

---@param fields { uri: string, text?: string, data?: string, mime_type?: string }
---@return table
function Content.resource(fields) end

---@param items (string|table)[]
---@return table
function Content.list(items) end

---------------------------------------------------------------- small things

---Run functions side by side and return their results in order.
---@param functions (fun(): any)[]
---@return any[]
function parallel(functions) end

---Wait: seconds, or a text like "500ms", "2s", "2m", "1h".
---@param duration number|string
function sleep(duration) end

---Unix time.
---@return number
function now() end

---@param low? integer
---@param high? integer
---@return number
function random(low, high) end

---@return string
function uuid() end

---Fill the `{{placeholders}}` of a text.
---@param text string
---@param data? table
---@return any
function template(text, data) end

json = {}

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
