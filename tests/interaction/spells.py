"""The spells of the house, beside the bundled ones, and the model its agents ask."""

from __future__ import annotations

from typing import Any

SPELLS = {
    "mirror": """
-- Give back what came in.
return Spell.create {
  input = { value = Schema.any "Anything" },
  output = { value = Schema.any "The same" },
  run = function(input) return { value = input.value } end,
}
""",
    "strict": """
-- Take one text and one number.
return Spell.create {
  input = {
    text = Schema.string "A text",
    count = Schema.integer("A number", { min = 1, max = 9, default = 2 }),
  },
  run = function(input) return input.text:rep(input.count, " ") end,
}
""",
    "raises": """
-- Raise an error.
return Spell.create {
  input = {},
  run = function()
    error { code = "no.luck", message = "no luck today", hint = "try tomorrow" }
  end,
}
""",
    "wrong": """
-- Return what is not declared.
return Spell.create {
  input = {}, output = { words = Schema.integer "A number" },
  run = function() return { words = "many" } end,
}
""",
    "endless": """
-- Compute for ever.
return Spell.create { input = {}, run = function() while true do end end }
""",
    "greedy": """
-- Eat memory.
return Spell.create {
  input = {},
  run = function()
    local eaten = {}
    for i = 1, math.huge do eaten[i] = ("x"):rep(100000) .. i end
  end,
}
""",
    "parent": """
-- Cast another spell.
return Spell.create {
  input = {}, needs = { tools = { "hello" } },
  run = function() return Spell.get("hello"):cast { name = "child" } end,
}
""",
    "undeclared": """
-- Cast another spell without saying so.
return Spell.create {
  input = {},
  run = function()
    local name = "hel" .. "lo"
    local greeting = Spell.get(name):cast { name = "x" }
    return greeting
  end,
}
""",
    "unreachable": """
-- Ask a model that needs a network where there is none.
local agent = Agent.create { name = "far", model = "openai/gpt-5" }
return Spell.create { input = {}, run = function() return agent:ask "hello?" end }
""",
    "mine": """
-- Count how often a person came.
return Spell.create { input = {}, run = function() return { count = State.user:increment "n" } end }
""",
    "mcp_only": """
return Spell.create { input = {}, expose = { a2a = false }, run = function() return "mcp" end }
""",
    "a2a_only": """
return Spell.create { input = {}, expose = { mcp = false }, run = function() return "a2a" end }
""",
    "changes": """
-- Say which version this is.
return Spell.create { input = {}, run = function() return "first" end }
""",
}

MODEL: list[dict[str, Any]] = [
    {"system": "literature", "when": "about (\\w+)", "text": "Papers on {{1}} agree."},
    {"system": "markets", "when": "uses (\\w+)", "text": "Millions use {{1}}."},
    {"system": "briefs", "when": "Papers on (\\w+) agree", "text": "A brief on {{1}}."},
]
