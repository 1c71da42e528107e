"""Questions of runs that go on without an answer: nobody is asked what nobody waits for."""

from __future__ import annotations

import asyncio
from pathlib import Path

from llmspell.host.host import Host
from llmspell.host.run_interface import RunHandle
from llmspell.state.store import Family
from tests.durability.following import ME, asked, ended
from tests.server.host.failing_store import failing_host, saying
from tests.support.hosts import open_host

ASKS = 'return Spell.create { run = function(_, ctx) return ctx:ask { message = "Go on?" } end }'
MIDDLE = """return Spell.create {
  needs = { tools = { "asks" } },
  run = function() return Spell.get("asks"):cast {} end,
}"""
FAILS_BESIDE = """return Spell.create {
  needs = { tools = { "asks", "middle" } },
  input = { which = Schema.string() },
  run = function(input, ctx)
    local ok, problem = pcall(parallel, {
      function()
        if input.which == "" then return ctx:ask { message = "Go on?" } end
        return Spell.get(input.which):cast {}
      end,
      function()
        while not State.shared:get "fail" do sleep(0.01) end
        error { code = "gone", message = "no luck" }
      end,
    })
    return problem.code
  end,
}"""
LATE = """return Spell.create {
  budget = { seconds = 0.2 },
  run = function(_, ctx)
    parallel {
      function() return ctx:ask { message = "Go on?" } end,
      function() while true do sleep(1) end end,
    }
  end,
}"""
ABOVE_LATE = """return Spell.create {
  needs = { tools = { "late" } },
  run = function(_, ctx)
    local ok, problem = pcall(function() return Spell.get("late"):cast {} end)
    return problem.code
  end,
}"""
GIVES_UP = """return Spell.create { run = function(_, ctx)
  local ok, problem = pcall(function() return ctx:ask { message = "Go on?" } end)
  return { ok, not ok and problem.code }
end }"""


async def fail(host: Host) -> None:
    await host.state.set("shared", "", "fail", True)


async def came_of(handle: RunHandle) -> tuple[str, object]:
    outcome = await ended(handle)
    assert outcome.questions == []
    return outcome.state, outcome.output


async def test_a_question_is_taken_back_from_all_above_when_a_branch_beside_it_fails(
    tmp_path: Path,
) -> None:
    spells = {"asks": ASKS, "middle": MIDDLE, "beside": FAILS_BESIDE}
    async with open_host(tmp_path, spells, state="rocksdb") as host, asyncio.timeout(10):
        for which in ("", "asks", "middle"):
            handle = await host.start("beside", {"which": which}, caller=ME)
            await asked(handle)
            await fail(host)
            assert await came_of(handle) == ("completed", "gone"), which
            await host.state.delete("shared", "", "fail")


async def test_a_question_of_a_child_that_is_late_is_taken_back_from_its_parent(
    tmp_path: Path,
) -> None:
    spells = {"late": LATE, "above": ABOVE_LATE}
    async with open_host(tmp_path, spells, state="rocksdb") as host, asyncio.timeout(10):
        handle = await host.start("above", {}, caller=ME)
        assert await came_of(handle) == ("completed", "limit.wall_clock")


async def test_a_question_whose_branch_ends_while_it_is_being_shown_is_taken_back(
    tmp_path: Path,
) -> None:
    spells = {"asks": ASKS, "middle": MIDDLE, "beside": FAILS_BESIDE}
    async with failing_host(tmp_path, spells) as (host, store), asyncio.timeout(10):
        store.hold_one(saying(b"Go on?", Family.RUN))
        handle = await host.start("beside", {"which": ""}, caller=ME)
        await store.held.wait()
        await fail(host)
        assert await came_of(handle) == ("completed", "gone")


async def test_a_question_that_cannot_be_shown_is_taken_back_and_the_run_goes_on(
    tmp_path: Path,
) -> None:
    async with failing_host(tmp_path, {"asks": GIVES_UP}) as (host, store), asyncio.timeout(10):
        store.refuse_once(saying(b"Go on?", Family.RUN))
        handle = await host.start("asks", {}, caller=ME)
        assert await came_of(handle) == ("completed", [False, "state.disk_full"])
