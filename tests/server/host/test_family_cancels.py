"""Parents and children that are stopped, in either order, at work and parked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from llmspell.errors import RunNotCancelable, RunNotWaiting
from tests.durability.following import ME, asked, child_of, ended, parked, until
from tests.support.hosts import open_host

WATCHES = """return Spell.create { run = function()
  State.shared:set("begun", 1)
  while not State.shared:get "go" do sleep(0.01) end
  return State.shared:increment "count"
end }"""
BEGUN = """return Spell.create { run = function()
  while not State.shared:get "begun" do sleep(0.01) end
end }"""
ASKS = 'return Spell.create { run = function(_, ctx) return ctx:ask { message = "Go on?" } end }'
ABOVE = """return Spell.create {
  needs = { tools = { "watches", "asks", "middle" } },
  input = { what = Schema.string() },
  run = function(input, ctx)
    local ok, problem = pcall(function() return Spell.get(input.what):cast {} end)
    return { ok = ok, code = not ok and problem.code or "none" }
  end,
}"""
MIDDLE = """return Spell.create {
  needs = { tools = { "asks" } },
  run = function() return Spell.get("asks"):cast {} end,
}"""
FLOW = """return Workflow.sequential { steps = { { name = "one", spell = "watches" } } }"""
INLINE = """
local inner = Spell.create { name = "inner", run = function(_, ctx)
  State.shared:increment "inner"
  return ctx:ask { message = "Inside?" }
end }
return Spell.create { run = function(_, ctx)
  local ok, problem = pcall(function() return inner:cast {} end)
  local answer = ctx:ask { message = "Go on?" }
  return { ok = ok, code = not ok and problem.code or "none", answer = answer.ok }
end }"""
LATE = """
local inner = Spell.create { name = "inner", budget = { seconds = 0.2 }, run = function()
  State.shared:increment "inner"
  while true do sleep(1) end
end }
return Spell.create { run = function(_, ctx)
  local ok, problem = pcall(function() return inner:cast {} end)
  local answer = ctx:ask { message = "Go on?" }
  return { ok = ok, code = not ok and problem.code or "none", answer = answer.ok }
end }"""
SPELLS = {"watches": WATCHES, "begun": BEGUN, "asks": ASKS, "above": ABOVE, "middle": MIDDLE}
TOLD = {"ok": False, "code": "run.canceled"}


async def test_a_child_that_is_stopped_does_nothing_more_and_its_parent_is_told(
    tmp_path: Path,
) -> None:
    async with open_host(tmp_path, SPELLS) as host, asyncio.timeout(10):
        above = await host.start("above", {"what": "watches"}, caller=ME)
        await host.cast("begun", {})
        child = await host.run((await child_of(host, above.id)).id, caller=ME)
        assert (await child.cancel()).state == "canceled"
        assert (await ended(above)).output == TOLD
        await host.state.set("shared", "", "go", True)
        await until(lambda: not host.busy, "nothing is under way")
        assert await host.state.get("shared", "", "count") is None
        assert (await child.cancel()).state == "canceled"


async def test_a_step_of_a_workflow_that_is_stopped_fails_it(tmp_path: Path) -> None:
    async with open_host(tmp_path, {**SPELLS, "flow": FLOW}) as host, asyncio.timeout(10):
        flow = await host.start("flow", {}, caller=ME)
        await host.cast("begun", {})
        child = await host.run((await child_of(host, flow.id)).id, caller=ME)
        assert (await child.cancel()).state == "canceled"
        await ended(flow)
        record = await flow.record()
        assert record.state == "failed"
        assert record.error is not None
        assert record.error["code"] == "run.canceled"


@pytest.mark.parametrize("what", ["asks", "middle"])
async def test_the_parent_of_a_parked_child_that_is_stopped_goes_on_and_asks_no_more(
    what: str, tmp_path: Path
) -> None:
    async with open_host(tmp_path, SPELLS) as host, asyncio.timeout(10):
        above = await host.start("above", {"what": what}, caller=ME)
        assert (await above.result()).state == "input_required"
        await until(lambda: not host.busy, "nothing is under way")
        child = await host.run((await child_of(host, above.id)).id, caller=ME)
        assert (await child.cancel()).state == "canceled"
        with pytest.raises(RunNotWaiting):
            await above.answer(True)
        assert (await ended(above)).output == TOLD


@pytest.mark.parametrize("is_parent_first", [True, False])
async def test_a_parent_and_its_child_may_be_stopped_at_the_same_time(
    is_parent_first: bool, tmp_path: Path
) -> None:
    async with open_host(tmp_path, SPELLS) as host, asyncio.timeout(10):
        for is_parked in (False, True):
            what = "asks" if is_parked else "watches"
            above = await host.start("above", {"what": what}, caller=ME)
            if is_parked:
                await above.result()
                await until(lambda: not host.busy, "nothing is under way")
            else:
                await host.cast("begun", {})
            child = await host.run((await child_of(host, above.id)).id, caller=ME)
            for first, second in ((child, above),):
                done = await asyncio.gather(first.cancel(), second.cancel(), return_exceptions=True)
                assert not [
                    each
                    for each in done
                    if isinstance(each, BaseException) and not isinstance(each, RunNotCancelable)
                ]
            assert (await child.record()).state == "canceled"
            assert (await above.record()).is_final
            await until(lambda: not host.busy, "nothing is under way")
        assert host.services.live == {}


async def test_a_stopped_child_of_the_same_file_stays_stopped_when_its_parent_goes_on(
    tmp_path: Path,
) -> None:
    async with open_host(tmp_path, {"inline": INLINE}) as host, asyncio.timeout(10):
        handle = await host.start("inline", {}, caller=ME)
        assert [each.message for each in await asked(handle)] == ["Inside?"]
        child = await host.run((await child_of(host, handle.id)).id, caller=ME)
        assert (await child.cancel()).state == "canceled"
        await until(lambda: not host.busy, "nothing is under way")
        assert [each.message for each in await asked(handle)] == ["Go on?"]
        await handle.answer(True)
        assert (await ended(handle)).output == {**TOLD, "answer": True}
        item = await host.state.get("shared", "", "inner")
        assert item is not None
        assert item.value == 1


async def test_a_child_of_the_same_file_that_was_late_is_late_when_its_parent_goes_on(
    tmp_path: Path,
) -> None:
    async with open_host(tmp_path, {"late": LATE}) as host, asyncio.timeout(10):
        handle = await host.start("late", {}, caller=ME)
        assert [each.message for each in await asked(handle)] == ["Go on?"]
        await parked(host, handle.id)
        await handle.answer(True)
        outcome = await ended(handle)
        assert outcome.output == {"ok": False, "code": "limit.wall_clock", "answer": True}
