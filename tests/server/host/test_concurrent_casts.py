"""Casts side by side: who waits for a slot, and who never does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.support.hosts import open_host, write_spells

NEST = """
return Spell.create {
  input = { depth = Schema.integer "How deep" },
  needs = { tools = { "nest" } },
  run = function(input)
    if input.depth == 0 then return 0 end
    return Tool.get("nest"):cast { depth = input.depth - 1 } + 1
  end,
}
"""

FAN = """
return Spell.create {
  needs = { tools = { "nest" } },
  run = function()
    local branches = {}
    for i = 1, 4 do branches[i] = function() return Tool.get("nest"):cast { depth = 3 } end end
    return parallel(branches)
  end,
}
"""

CHATTY = """
return Spell.create { run = function()
  for _ = 1, 100 do Log.info(("x"):rep(100)) end
end }
"""


def limits(path: Path, **values: int) -> None:
    lines = [f"{name} = {value}" for name, value in values.items()]
    (path / "llmspell.toml").write_text("[limits]\n" + "\n".join(lines) + "\n", encoding="utf-8")


def outputs(outcomes: list[Any]) -> list[Any]:
    return [outcome.output if outcome.ok else outcome.error for outcome in outcomes]


async def test_casts_nest_when_a_single_one_may_compute(tmp_path: Path) -> None:
    write_spells(tmp_path, {"nest": NEST, "fan": FAN})
    limits(tmp_path, casts=1, depth=16)
    async with open_host(tmp_path) as host, asyncio.timeout(20):
        casts = [host.cast("nest", {"depth": 10}) for _ in range(3)]
        assert outputs(await asyncio.gather(*casts, host.cast("fan", {}))) == [10] * 3 + [[3] * 4]


async def test_casts_beyond_the_queue_are_told_when_to_come_back(tmp_path: Path) -> None:
    write_spells(tmp_path, {"nest": NEST})
    limits(tmp_path, casts=1, queue=2)
    async with open_host(tmp_path) as host, asyncio.timeout(20):
        casts = [host.cast("nest", {"depth": 2}) for _ in range(8)]
        found = outputs(await asyncio.gather(*casts))
        done = [output for output in found if output == 2]
        refused = [output for output in found if output != 2]
        assert len(done) >= 3
        assert refused
        for error in refused:
            assert error["code"] == "limit.busy"
            assert error["data"] == {"retry_after": 1, "limit": "limits.queue"}
        assert outputs([await host.cast("nest", {"depth": 2})]) == [2]


async def test_a_run_that_writes_too_much_into_its_log_fails(tmp_path: Path) -> None:
    write_spells(tmp_path, {"chatty": CHATTY})
    limits(tmp_path, log_bytes=5000)
    async with open_host(tmp_path) as host, asyncio.timeout(20):
        (error,) = outputs([await host.cast("chatty", {})])
        assert error["code"] == "limit.exceeded"
        assert "limits.log_bytes" in error["hint"]
