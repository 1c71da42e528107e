"""A disk that is full for one write and has room again: what is lost by it, and what is not."""

from __future__ import annotations

import asyncio
from copy import copy
from pathlib import Path

import pytest

from llmspell.errors import StateDiskFull
from llmspell.state.store import Family
from tests.durability.following import ME, ended, parked, until
from tests.server.host.failing_store import everything, failing_host, saves, saying

GOES_ON = """return Spell.create { run = function()
  local ok = pcall(function() return State.shared:set("first", 1) end)
  State.shared:set("second", 1)
  while not State.shared:get "go" do sleep(0.01) end
  return ok
end }"""
SECOND = """return Spell.create { run = function()
  while not State.shared:get "second" do sleep(0.01) end
end }"""
SAYS = """return Spell.create { run = function(_, ctx)
  State.shared:set("begun", 1)
  ctx:progress(1, 2)
  while not State.shared:get "go" do sleep(0.01) end
  return State.shared:increment "count"
end }"""
COUNTS = 'return Spell.create { run = function() return State.shared:increment "count" end }'
CHILD = """return Spell.create { run = function(_, ctx)
  State.shared:increment "children"
  return "the child"
end }"""
CATCHES = """
local writer = Agent.create { name = "writer" }
return Spell.create {
  needs = { tools = { "child" } },
  input = { what = Schema.string() },
  run = function(input, ctx)
    local does = {
      model = function() return writer:ask "a thought" end,
      child = function() return Spell.get("child"):cast {} end,
      step = function() return ctx:step("think", function() return "a thought" end) end,
      ask = function() return ctx:ask { message = "a thought?", expires = "1d" } end,
      sleep = function() sleep(3600) end,
    }
    local ok, problem = pcall(does[input.what])
    local answer = ctx:ask { message = "Go on?" }
    return { ok = ok, code = not ok and problem.code or "none", answer = answer.ok }
  end,
}"""

OWN = """
local writer = Agent.create { name = "writer" }
local inner = Spell.create { name = "inner", run = function()
  return State.shared:increment "inner"
end }
return Spell.create {
  input = { what = Schema.string() },
  run = function(input, ctx)
    local does = {
      own = function() return inner:cast {} end,
      agent = function() return writer:ask "a thought" end,
      again = function() return ctx:continue_as_new { what = "own" } end,
    }
    local ok, problem = pcall(does[input.what])
    local answer = ctx:ask { message = "Go on?" }
    return { ok = ok, code = not ok and problem.code or "none", answer = answer.ok }
  end,
}"""


async def test_a_run_that_acts_is_known_although_its_first_save_was_refused(
    tmp_path: Path,
) -> None:
    spells = {"goes_on": GOES_ON, "second": SECOND}
    async with failing_host(tmp_path, spells) as (host, store), asyncio.timeout(10):
        store.refuse_once(saves)
        waiting = await host.begin("goes_on", {}, caller=ME)
        await host.cast("second", {}, caller=ME)
        assert await host.services.archive.find(ME.tenant, waiting.id) is not None
        await host.state.set("shared", "", "go", True)
        assert (await waiting.outcome()).output is False


async def test_events_that_could_not_be_saved_for_a_moment_do_not_end_the_run(
    tmp_path: Path,
) -> None:
    async with failing_host(tmp_path, {"says": SAYS}) as (host, store), asyncio.timeout(10):
        store.refuse_once(saying(b"progress", Family.EVENT))
        handle = await host.start("says", {}, caller=ME)
        await store.refused.wait()
        await host.state.set("shared", "", "go", True)
        outcome = await handle.result()
        assert (outcome.state, outcome.output) == ("completed", 1)
        stored = await host.services.archive.events(handle.id)
        assert [event.number for event in stored] == list(range(1, len(stored) + 1))
        assert any(event.kind == "progress" for event in stored)


async def test_who_leaves_a_cast_with_a_key_that_nothing_could_be_recorded_of_is_not_harmed(
    tmp_path: Path,
) -> None:
    async with failing_host(tmp_path, {"counts": COUNTS}) as (host, store), asyncio.timeout(10):
        waiting = await host.begin("counts", {}, caller=ME, key="mine")
        store.refuses = everything
        with pytest.raises(StateDiskFull):
            await waiting.result()
        store.refuses = None
        await waiting.leave()
        assert (await waiting.record()).state == "canceled"
        assert (await host.cast("counts", {}, caller=ME, key="mine")).output == 1


async def test_a_run_whose_end_was_refused_ends_when_it_is_found_again(tmp_path: Path) -> None:
    async with failing_host(tmp_path, {"counts": COUNTS}) as (host, store), asyncio.timeout(10):
        store.refuses = saying(b"completed", Family.RUN)
        first = await host.start("counts", {}, caller=ME)
        with pytest.raises(StateDiskFull):
            await first.result()
        store.refuses = None
        found = await host.run(first.id, caller=ME)
        outcome = await found.result()
        assert (outcome.state, outcome.output) == ("completed", 1)
        events = [event.kind async for event in found.events()]
        assert events[-1] == "state"
        assert "resumed" in events
        assert (await first.record()).state == "completed"


async def test_stopping_a_run_by_a_handle_from_before_stops_the_cast_of_now(
    tmp_path: Path,
) -> None:
    async with failing_host(tmp_path, {"says": SAYS}) as (host, store), asyncio.timeout(10):
        store.refuses = saying(b"completed", Family.RUN)
        await host.state.set("shared", "", "go", True)
        first = await host.start("says", {}, caller=ME)
        with pytest.raises(StateDiskFull):
            await first.result()
        store.refuses = None
        await host.run(first.id, caller=ME)  # it goes on from here
        assert (await first.cancel()).state == "canceled"
        await until(lambda: not host.busy, "nothing is under way")
        assert (await (await host.run(first.id, caller=ME)).record()).state == "canceled"


@pytest.mark.parametrize("what", ["model", "child", "step", "ask", "sleep"])
async def test_what_a_spell_was_told_of_a_full_disk_it_is_told_again_when_it_goes_on(
    what: str, tmp_path: Path
) -> None:
    text = {"model": b"thought", "child": b"child", "step": b"think", "ask": b"thought?"}
    spells = {"catches": CATCHES, "child": CHILD}
    async with failing_host(tmp_path, spells) as (host, store), asyncio.timeout(20):
        store.refuse_once(saying(text.get(what, b"sleep"), Family.JOURNAL))
        handle = await host.start("catches", {"what": what}, caller=ME)
        assert (await handle.result()).state == "input_required"
        assert store.refused.is_set()
        await parked(host, handle.id)
        await handle.answer(True)
        outcome = await ended(handle)
        assert outcome.output == {"ok": False, "code": "state.disk_full", "answer": True}, outcome


@pytest.mark.parametrize("what", ["own", "agent", "again"])
async def test_what_could_not_be_begun_on_a_full_disk_is_not_begun_when_the_run_goes_on(
    what: str, tmp_path: Path
) -> None:
    async with failing_host(tmp_path, {"own": OWN}) as (host, store), asyncio.timeout(20):
        store.refuse_once(saves)
        waiting = await host.begin("own", {"what": what}, caller=ME)
        assert (await waiting.settled()).state == "input_required"
        handle = await parked(host, waiting.id)
        await handle.answer(True)
        outcome = await ended(handle)
        assert outcome.output == {"ok": False, "code": "state.disk_full", "answer": True}, outcome
        assert await host.state.get("shared", "", "inner") is None


@pytest.mark.parametrize("is_written", [False, True])
async def test_a_child_of_the_same_file_whose_end_was_refused_is_told_of_so_again(
    is_written: bool, tmp_path: Path
) -> None:
    async with failing_host(tmp_path, {"own": OWN}) as (host, store), asyncio.timeout(20):
        chosen = saying(b"completed", Family.RUN)
        (store.lose_once if is_written else store.refuse_once)(chosen)
        handle = await host.start("own", {"what": "own"}, caller=ME)
        await handle.result()
        await parked(host, handle.id)
        await handle.answer(True)
        code = "state.failed" if is_written else "state.disk_full"
        outcome = await ended(handle)
        assert outcome.output == {"ok": False, "code": code, "answer": True}, outcome
        count = await host.state.get("shared", "", "inner")
        assert count is not None
        assert count.value == 1


async def test_a_proposal_whose_choice_could_not_be_kept_is_one_still(tmp_path: Path) -> None:
    async with failing_host(tmp_path, {"counts": COUNTS}) as (host, store), asyncio.timeout(10):
        proposal = await host.propose("which?", caller=ME, data={"said": "count"})
        before = copy(await proposal.record())
        store.refuse_once(saves)
        with pytest.raises(StateDiskFull):
            await host.start("counts", {}, caller=ME, proposal=proposal.id)
        assert await proposal.record() == before
        handle = await host.start("counts", {}, caller=ME, proposal=proposal.id)
        assert (await ended(handle)).output == 1
