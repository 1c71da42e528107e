---------------------------------------------------------------- what only `*_test.lua` has

---Group tests under a name.
---@param name string
---@param body fun()
function describe(name, body) end

---Declare a test. It runs in a Lua state, a store and a time of its own.
---@param name string
---@param body fun(ctx: llmspell.Context)
function it(name, body) end

---Run a function before each test of the group it stands in.
---@param fn fun()
function before_each(fn) end

---A spell of the project, to be cast by a test.
---@class llmspell.SpellUnderTest: llmspell.Castable
---@field state llmspell.StateScope The spell's own state, as `State` in it

---The published spell of this name, cast as by the caller of these options.
---@param name llmspell.Name
---@param options? { session?: string, user?: string, message?: table }
---@return llmspell.SpellUnderTest
function spell(name, options) end

---What is to be true of a value. Each works with a dot or a colon.
---@class llmspell.Expectation
local Expectation = {}

---It is the same value, tables compared field by field.
---@param expected any
function Expectation.to_equal(expected) end

---@param expected any
function Expectation.not_to_equal(expected) end

---A text contains this text, or a list this item.
---@param part any
function Expectation.to_contain(part) end

---@param part any
function Expectation.not_to_contain(part) end

---A text matches this Lua pattern.
---@param pattern string
function Expectation.to_match(pattern) end

---@param pattern string
function Expectation.not_to_match(pattern) end

---It is of this type: "string", "number", "table", ...
---@param kind string
function Expectation.to_be_a(kind) end

function Expectation.to_be_nil() end

function Expectation.not_to_be_nil() end

---It is a number at most `tolerance` (0.000001) away.
---@param expected number
---@param tolerance? number
function Expectation.to_be_near(expected, tolerance) end

---It is a function whose call fails; the code is the error's own or the one its author gave.
---@param code? string
---@param text? string What the message contains
---@return any problem The error
function Expectation.to_fail(code, text) end

---Begin to say what is to be true of a value.
---@param value any
---@return llmspell.Expectation
function expect(value) end

mock = {}

---One answer of a scripted model.
---@class llmspell.ModelStep
---@field when? string Regular expression that the last message must match; without it, the n-th step answers the n-th turn
---@field system? string Regular expression that the instructions must match
---@field text? string
---@field calls? { name: string, arguments?: table }[] Tools the model calls
---@field error? string The answer fails: "rate_limit", "timeout", "unavailable", ...
---@field delay? number Seconds it takes
---@field usage? { input_tokens?: integer, output_tokens?: integer }

---@class llmspell.MockedModel
local MockedModel = {}

---What the model was asked so far: each `{ model, messages, tools }`.
---@return table[]
function MockedModel:requests() end

---@class llmspell.MockedTool
local MockedTool = {}

---The inputs it was cast with so far.
---@return any[]
function MockedTool:calls() end

---Script a model: the one of this name, or every model that has no script of its own.
---@param name string|llmspell.ModelStep[]
---@param steps? llmspell.ModelStep[]
---@return llmspell.MockedModel
function mock.model(name, steps) end

---Let something published be answered by a value, or by a function of the input.
---@param name string
---@param answer any
---@return llmspell.MockedTool
function mock.tool(name, answer) end

---What the test says to a question: the answer, or that it is declined or expires.
---@alias llmspell.MockedAnswer table|"decline"|"expire"

---@class llmspell.MockedPerson
local MockedPerson = {}

---What was asked so far: each `{ message, schema }`.
---@return table[]
function MockedPerson:questions() end

---Answer the questions of `ctx:ask`, one after the other, or with a function of the question.
---@param answers llmspell.MockedAnswer[]|fun(question: table): llmspell.MockedAnswer
---@return llmspell.MockedPerson
function mock.ask(answers) end

---Set the time; `sleep` goes on from there, and takes none of the real time.
---@param time number Unix time
function mock.now(time) end
