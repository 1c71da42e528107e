"""Limits a spell sets itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

from llmspell.host.host import Host
from tests.support.mcp import open_host

SPELLS = {
    "loops": """
-- Computes for ever.
return Spell.create {
  limits = { slice_seconds = 0.2 },
  run = function() while true do end end,
}
""",
    "chats": """
-- Asks for more than it may.
return Spell.create {
  limits = { host_calls = 5 },
  run = function() for i = 1, 10 do State:get "k" end end,
}
""",
    "logs": """
-- Logs more than it may.
return Spell.create {
  limits = { log_events = 3 },
  run = function() for i = 1, 10 do Log.info(i) end end,
}
""",
    "talks": """
-- Returns more than it may.
return Spell.create {
  limits = { output_bytes = 10 },
  run = function() return string.rep("x", 100) end,
}
""",
    "alone": """
-- One at a time.
return Spell.create {
  concurrency = 1,
  run = function()
    local now_running = State:increment "running"
    sleep(0.01)
    State:increment("running", -1)
    return now_running
  end,
}
""",
    "itself": """
-- One at a time, and casts itself.
return Spell.create {
  concurrency = 1,
  input = { depth = Schema.integer "How deep" },
  needs = { tools = { "itself" } },
  run = function(input)
    if input.depth == 0 then return "bottom" end
    return Spell.get("itself"):cast { depth = input.depth - 1 }
  end,
}
""",
}


async def _code(host: Host, name: str) -> str | None:
    outcome = await host.cast(name, {})
    return outcome.error["code"] if outcome.error else None


async def test_a_spell_is_held_to_the_limits_it_sets_itself(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS) as host:
        assert host.catalogue().problems == ()
        assert await _code(host, "loops") == "limit.wall_clock"
        assert await _code(host, "chats") == "limit.exceeded"
        assert await _code(host, "logs") == "limit.exceeded"
        assert await _code(host, "talks") == "output.too_large"


async def test_casts_of_a_spell_for_one_at_a_time_follow_each_other(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS) as host, asyncio.timeout(20):
        outcomes = await asyncio.gather(*(host.cast("alone", {}) for _ in range(5)))
    assert [outcome.output for outcome in outcomes] == [1] * 5


async def test_a_spell_for_one_at_a_time_may_cast_itself(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS) as host, asyncio.timeout(20):
        outcome = await host.cast("itself", {"depth": 3})
    assert outcome.output == "bottom"
