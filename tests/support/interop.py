"""What the tests of official MCP clients share: a project of spells that use all of a client."""

from __future__ import annotations

from pathlib import Path

from tests.support.mcp import write_spell
from tests.support.servers import make_project

BUNDLED = ("hello", "word_count", "notes")

SPELLS = {
    # With pauses: a client that reads several messages at once may forget those before the result.
    "steps": """
-- Reports progress three times.
return Spell.create {
  input = {}, read_only = true,
  run = function(_, ctx)
    for step = 1, 3 do
      ctx:progress(step, 3, "step " .. step)
      sleep "50ms"
    end
    return "done"
  end,
}
""",
    "waits": """
-- Waits for a minute.
return Spell.create {
  input = { text = Schema.string "What to say meanwhile" }, read_only = true,
  run = function(input, ctx)
    ctx:progress(1, 2, input.text)
    sleep(60)
    return "late"
  end,
}
""",
    "approve": """
-- Asks whether something may be done.
return Spell.create {
  input = { what = Schema.string "What is to be done" },
  run = function(input, ctx)
    local answer = ctx:ask {
      name = "approval", message = "May I " .. input.what .. "?",
      schema = { ok = Schema.boolean "Whether it may be done", by = Schema.string "Who says so" },
    }
    return (answer.ok and "approved by " or "refused by ") .. answer.by
  end,
}
""",
    "long_job": """
-- Works until it is released: longer than its caller waits.
return Spell.create {
  input = { gate = Schema.string "What 'release' is told" },
  output = { work = Schema.string "What was done" },
  wait = "200ms", task = "optional",
  run = function(input, ctx)
    ctx:progress(1, 2, "waiting")
    while not State.shared:get("gate." .. input.gate) do sleep "50ms" end
    return { work = "done" }
  end,
}
""",
    "slow": """
-- Takes longer than a client that knows tasks waits.
return Spell.create {
  input = {}, read_only = true, task = "optional",
  run = function()
    sleep(1.5)
    return "at last"
  end,
}
""",
    "release": """
-- Lets a long job end.
return Spell.create {
  input = { gate = Schema.string "Of which job" },
  run = function(input)
    State.shared:set("gate." .. input.gate, true)
    return "released"
  end,
}
""",
}

ADDED = """
-- A spell that came while clients were connected.
return Spell.create { input = {}, read_only = true, run = function() return "new" end }
"""


def make_interop_project(directory: Path) -> Path:
    """Make a project of these spells and some of the bundled ones, and return its directory."""
    make_project(directory, BUNDLED)
    for name, source in SPELLS.items():
        write_spell(directory, name, source)
    return directory
