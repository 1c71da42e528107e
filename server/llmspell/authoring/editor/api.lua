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
