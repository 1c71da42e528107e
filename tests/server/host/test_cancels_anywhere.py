"""A cast that is stopped in any turn of the event loop: it ends, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from llmspell.errors import RunNotCancelable
from llmspell.host.handles import LiveHandle
from llmspell.host.host import Host
from tests.durability.following import ME, until
from tests.support.hosts import open_host

CHILD = """return Spell.create { run = function()
  State.shared:increment "children"
  return 1
end }"""
ALL = """
local writer = Agent.create { name = "writer" }
return Spell.create {
  needs = { tools = { "child" } },
  run = function(_, ctx)
    State.shared:increment "begun"
    ctx:progress(1, 3)
    ctx:step("think", function() return writer:ask "a thought" end)
    State.shared:transaction(function(tx) tx:set("n", (tx:get "n" or 0) + 1) end)
    parallel {
      function() return Spell.get("child"):cast {} end,
      function() sleep(0.001) end,
      function() return writer:ask "another" end,
    }
    return 1
  end,
}"""
ASKS = """return Spell.create {
  needs = { tools = { "asked" } },
  run = function(_, ctx)
    parallel {
      function() return Spell.get("asked"):cast {} end,
      function() return ctx:ask { message = "And you?" } end,
    }
  end,
}"""
ASKED = 'return Spell.create { run = function(_, ctx) return ctx:ask { message = "You?" } end }'
CROWD = """return Spell.create { run = function()
  local branches = {}
  for i = 1, 100 do branches[i] = function() sleep(5) end end
  branches[101] = function() error "at once" end
  parallel(branches)
end }"""
DEEP = """return Spell.create {
  needs = { tools = { "asks" } },
  run = function() return Spell.get("asks"):cast {} end,
}"""
SPELLS = {
    "child": CHILD,
    "all": ALL,
    "asks": ASKS,
    "asked": ASKED,
    "crowd": CROWD,
    "deep": DEEP,
}
TURNS = 120


async def nothing_is_left(host: Host, before: set[asyncio.Task[Any]]) -> None:
    await until(lambda: not host.busy, "no cast is under way")
    assert host.services.live == {}
    assert host.services.stops == {}
    await until(lambda: asyncio.all_tasks() <= before, "every task has ended")
    for run in (await host.runs(caller=ME, limit=1000)).runs:
        assert run.is_final, run
        assert run.questions == [], run
    assert await host.services.archive.live() == []


async def left_while_asking(host: Host) -> tuple[LiveHandle, str]:
    """Return a tree of three that is about to be parked with two questions, and its child's id."""
    handle = await host.start("deep", {}, caller=ME)
    assert isinstance(handle, LiveHandle)
    assert handle.casting is not None
    await until(lambda: len(handle.live.run.questions) == 2, "both ask")
    live = host.services.live.values()
    (child,) = [each.run.id for each in live if each.run.parent == handle.id]
    handle.casting.leave("parked")
    return handle, child


@pytest.mark.parametrize("spell", ["all", "asks", "crowd"])
async def test_a_run_that_is_stopped_in_any_turn_ends_and_leaves_nothing(
    spell: str, tmp_path: Path
) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host, asyncio.timeout(60):
        warm = await host.start(spell, {}, caller=ME)
        await warm.result()
        await asyncio.gather(warm.cancel(), return_exceptions=True)
        await until(lambda: not host.busy, "no cast is under way")
        before, states = asyncio.all_tasks(), set[str]()
        for turns in range(TURNS):
            handle = await host.start(spell, {}, caller=ME)
            for _ in range(turns):
                await asyncio.sleep(0)
            stops = [handle.cancel(), handle.cancel()]
            for problem in await asyncio.gather(*stops, return_exceptions=True):
                if isinstance(problem, BaseException):
                    assert isinstance(problem, RunNotCancelable), problem
            states.add((await handle.record()).state)
        assert "canceled" in states
        await nothing_is_left(host, before)


@pytest.mark.parametrize("stops_child", [False, True])
async def test_a_tree_that_is_stopped_in_any_turn_of_being_parked_ends_and_leaves_nothing(
    stops_child: bool, tmp_path: Path
) -> None:
    async with open_host(tmp_path, SPELLS) as host, asyncio.timeout(60):
        before = asyncio.all_tasks()
        for turns in range(TURNS):
            handle, child = await left_while_asking(host)
            for _ in range(turns):
                await asyncio.sleep(0)
            if stops_child:
                await (await host.run(child, caller=ME)).cancel()
            await asyncio.gather(handle.cancel(), handle.cancel(), return_exceptions=True)
        await nothing_is_left(host, before)


@pytest.mark.parametrize("stops_child", [False, True])
async def test_a_tree_that_is_stopped_in_any_turn_of_being_taken_up_again_leaves_nothing(
    stops_child: bool, tmp_path: Path
) -> None:
    """What it had begun and has not come to again is stopped too."""
    async with open_host(tmp_path, SPELLS) as host, asyncio.timeout(60):
        before = asyncio.all_tasks()
        for turns in range(TURNS):
            handle, child = await left_while_asking(host)
            await until(lambda handle=handle: handle.task is None, "it is parked")
            (question,) = [
                each.id for each in handle.live.run.questions if each.message == "And you?"
            ]
            await handle.answer(True, question=question)
            for _ in range(turns):
                await asyncio.sleep(0)
            if stops_child:
                await (await host.run(child, caller=ME)).cancel()
                assert (await handle.result()).state == "failed"
            await asyncio.gather(handle.cancel(), return_exceptions=True)
        await nothing_is_left(host, before)
