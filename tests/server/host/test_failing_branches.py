"""A branch of `parallel` that fails: what the others began is ended before the error is raised."""

from __future__ import annotations

import asyncio
from pathlib import Path

from llmspell.security.principals import local_caller
from tests.support.hosts import open_host

SLOW = "return Spell.create { run = function() sleep(600) end }"
QUICK = "return Spell.create { run = function() return 1 end }"
FAILS = """return Spell.create {
  needs = { tools = { "slow", "quick" } },
  run = function()
    local ok, problem = pcall(parallel, {
      function() return Spell.get("slow"):cast {} end,
      function()
        Spell.get("quick"):cast {}
        error { code = "gone", message = "no luck" }
      end,
      function() State.set("k", 1) sleep(600) end,
    })
    return { ok = ok, code = problem.code, message = problem.message, kept = State.get "k" }
  end,
}"""
AT_ONCE = """return Spell.create {
  needs = { tools = { "slow" } },
  run = function()
    parallel {
      function() return Spell.get("slow"):cast {} end,
      function() error "at once" end,
    }
  end,
}"""


async def test_casts_and_waits_of_the_other_branches_are_canceled(tmp_path: Path) -> None:
    spells = {"slow": SLOW, "quick": QUICK, "fails": FAILS}
    async with open_host(tmp_path, spells) as host, asyncio.timeout(10):
        outcome = await host.cast("fails", {}, caller=local_caller())
        assert outcome.output == {"ok": False, "code": "gone", "message": "no luck", "kept": 1}
        handle = await host.run(outcome.run_id, caller=local_caller())
        ended = {
            event.data["spell"]: event.data["state"]
            async for event in handle.events()
            if event.kind == "cast.ended"
        }
        assert ended == {"quick": "completed", "slow": "canceled"}


async def test_a_failure_before_anything_is_under_way_ends_the_run_with_it(tmp_path: Path) -> None:
    async with open_host(tmp_path, {"slow": SLOW, "fails": AT_ONCE}) as host, asyncio.timeout(10):
        outcome = await host.cast("fails", {}, caller=local_caller())
        assert outcome.error is not None
        assert outcome.error["message"] == "at once"
        assert outcome.error["where"] == "spells/fails.lua:6"
