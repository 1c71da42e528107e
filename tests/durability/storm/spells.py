"""What the clients of a storm cast. Whatever has an effect counts it under the id of its call."""

from __future__ import annotations

DOOMED_SECONDS = 600
"""How long a call would take that its client gives up: a lost cancel leaves it under way."""

ECHO = """
return Spell.create {
  name = "echo", read_only = true,
  input = { id = Schema.string() },
  run = function(input) return input.id end,
}
"""

COUNTS = """
return Spell.create {
  name = "counts",
  input = { id = Schema.string() },
  run = function(input)
    return tostring(State.transaction(function()
      local n = State.shared:get("times/" .. input.id, 0) + 1
      State.shared:set("times/" .. input.id, n)
      return n
    end, { attempts = 1000 }))
  end,
}
"""

PART = """
return Spell.create {
  name = "part", expose = { mcp = false, a2a = false },
  input = { id = Schema.string() },
  run = function(input) return State.shared:increment("part/" .. input.id) end,
}
"""

WORKS = """
return Spell.create {
  name = "works",
  input = { id = Schema.string() },
  needs = { tools = { "part" } },
  run = function(input, ctx)
    local sum = ctx:step("sum", function() return 6 * 7 end)
    local n = State.shared:increment("times/" .. input.id)
    local part = Spell.get("part"):cast { id = input.id }
    assert(sum == 42)
    return string.format("%d %s", n, part)
  end,
}
"""
"""A step, an effect, and a child that has one."""

SLOW = """
return Spell.create {
  name = "slow",
  input = { id = Schema.string(), seconds = Schema.number() },
  run = function(input, ctx)
    ctx:progress(1, 2, "asleep")
    sleep(input.seconds)
    return tostring(State.shared:increment("times/" .. input.id))
  end,
}
"""

TASK = SLOW.replace('"slow",', '"slow_task", task = "required",')

ASKS = """
return Spell.create {
  name = "asks",
  input = { id = Schema.string() },
  run = function(input, ctx)
    local answer = ctx:ask {
      name = "go", message = "Go on with " .. input.id .. "?",
      schema = { ok = Schema.boolean() },
    }
    assert(answer.ok)
    return tostring(State.shared:increment("times/" .. input.id))
  end,
}
"""

ASKS_TASK = ASKS.replace('"asks",', '"asks_task", task = "required",')

FAILS = """
return Spell.create {
  name = "fails", read_only = true,
  input = { id = Schema.string() },
  run = function(input) error { code = "no.luck", message = "no luck for " .. input.id } end,
}
"""

COMPUTES = """
return Spell.create {
  name = "computes", read_only = true,
  input = { id = Schema.string() },
  run = function(input)
    local sum = 0
    for i = 1, 200000 do sum = sum + i % 7 end
    return input.id
  end,
}
"""

FLOODS = """
return Spell.create {
  name = "floods", read_only = true,
  input = { id = Schema.string() },
  run = function(input, ctx)
    for i = 1, 100 do ctx:progress(i, 100, "line " .. i) end
    return input.id
  end,
}
"""

TALLY = """
return Spell.create {
  name = "tally", read_only = true,
  input = { after = Schema.string { default = "" } },
  run = function(input)
    local options = { limit = 1000 }
    if input.after ~= "" then options.after = input.after end
    local items, next = State.shared:scan("", options)
    local found = {}
    for _, item in ipairs(items) do found[item.key] = item.value end
    return { found = found, next = next or "" }
  end,
}
"""

SPELLS = {
    "echo": ECHO,
    "counts": COUNTS,
    "part": PART,
    "works": WORKS,
    "slow": SLOW,
    "slow_task": TASK,
    "asks": ASKS,
    "asks_task": ASKS_TASK,
    "fails": FAILS,
    "computes": COMPUTES,
    "floods": FLOODS,
    "tally": TALLY,
}

RELOADED = ("echo", "counts", "works", "slow", "floods")
"""What is edited meanwhile."""
