"""Runs that somebody began, answered or stopped, and did not wait to see it done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from llmspell.errors import RunNotWaiting
from llmspell.host.handles import LiveHandle
from llmspell.host.host import Host
from llmspell.runs.record import Run, new_run_id
from llmspell.security.principals import local_caller
from tests.support.hosts import open_host

SPELLS = {
    "counts": 'return Spell.create { run = function() return State.shared:increment "count" end }',
    "sleeps": "return Spell.create { run = function() sleep(600) end }",
    "asks": """
return Spell.create { run = function(_, ctx)
  local answer = ctx:ask { message = "Go on?" }
  return { answer.ok, State.shared:increment "count" }
end }
""",
}
ME = local_caller()


async def count(host: Host) -> object:
    item = await host.state.get("shared", "", "count")
    return item.value if item is not None else None


async def until(holds: Callable[[], bool]) -> None:
    """Return once `holds()` does; it is asked in each turn of the event loop."""
    async with asyncio.timeout(10):
        while True:
            if holds():
                return
            await asyncio.sleep(0)


async def idle(host: Host) -> None:
    await until(lambda: not host.busy)


async def parked(host: Host) -> LiveHandle:
    """Return the handle of a run that asks, once nothing is at work for it."""
    handle = await host.start("asks", {}, caller=ME)
    assert isinstance(handle, LiveHandle)
    assert (await handle.result()).state == "input_required"
    await idle(host)
    assert handle.live.run.parked
    return handle


async def test_a_run_goes_on_whose_caller_was_cancelled_while_it_was_stored(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host, asyncio.timeout(20):
        starting = asyncio.ensure_future(host.start("counts", {}, caller=ME, key="mine"))
        await asyncio.sleep(0)  # it is being stored
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        again = await host.start("counts", {}, caller=ME, key="mine")
        assert (await again.result()).output == 1
        assert {run.id for run in (await host.runs(caller=ME)).runs} == {again.id}


async def test_a_proposal_goes_on_whose_caller_was_cancelled_while_its_choice_was_stored(
    tmp_path: Path,
) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host, asyncio.timeout(20):
        proposal = await host.propose("which?", caller=ME)
        starting = asyncio.ensure_future(host.start("counts", {}, caller=ME, proposal=proposal.id))
        await asyncio.sleep(0)  # it is being stored
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        async for _ in proposal.events():
            pass
        assert (await proposal.result()).output == 1


async def test_a_stored_run_that_nothing_is_at_work_for_goes_on_when_it_is_found(
    tmp_path: Path,
) -> None:
    async with open_host(tmp_path, SPELLS) as host, asyncio.timeout(20):
        spell = host.catalogue().get("counts")
        assert spell is not None
        left = Run(
            id=new_run_id(1.0),
            tenant=ME.tenant,
            principal=ME.principal,
            session=ME.session,
            spell=spell.name,
            spell_version=spell.version,
            input={},
        )
        await host.services.archive.save(left, [])
        first, second = await asyncio.gather(*(host.run(left.id, caller=ME) for _ in range(2)))
        assert first is second
        assert (await first.result()).output == 1


async def test_an_answer_counts_although_whoever_gave_it_was_cancelled(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host, asyncio.timeout(20):
        handle = await parked(host)
        answering = asyncio.ensure_future(handle.answer(True))
        await asyncio.sleep(0)  # it is being stored
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering
        async for _ in handle.events():
            pass
        assert (await handle.result()).output == [True, 1]


async def test_what_is_stored_of_an_answered_run_lets_the_next_owner_take_it_up_at_once(
    tmp_path: Path,
) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host, asyncio.timeout(20):
        handle = await parked(host)
        assert (await host.services.archive.load(ME.tenant, handle.id)).parked
        await handle.answer(True)
        stored = await host.services.archive.load(ME.tenant, handle.id)
        assert (stored.parked, stored.wake_at) == (False, None)


async def test_an_answer_that_comes_while_a_run_is_being_parked_is_stored_after_that(
    tmp_path: Path,
) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host, asyncio.timeout(20):
        handle = await host.start("asks", {}, caller=ME)
        assert isinstance(handle, LiveHandle)
        await handle.result()
        await until(lambda: handle.casting is not None and handle.casting.leaving is not None)
        await handle.answer(True)
        assert not (await host.services.archive.load(ME.tenant, handle.id)).parked
        with pytest.raises(RunNotWaiting):
            await handle.answer(True)
        async for _ in handle.events():
            pass
        assert (await handle.result()).output == [True, 1]


async def test_a_proposal_that_is_stopped_while_its_spell_is_chosen_casts_nothing(
    tmp_path: Path,
) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host, asyncio.timeout(20):
        proposal = await host.propose("which?", caller=ME)
        starting = asyncio.ensure_future(host.start("counts", {}, caller=ME, proposal=proposal.id))
        await asyncio.sleep(0)  # it is being stored
        assert (await proposal.cancel()).state == "canceled"
        assert (await (await starting).result()).state == "canceled"
        await idle(host)
        assert await count(host) is None


async def test_a_run_that_is_stopped_while_it_is_woken_does_not_go_on(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host, asyncio.timeout(20):
        handle = await parked(host)
        await handle.answer(True)
        assert host.busy
        assert (await handle.cancel()).state == "canceled"
        await idle(host)
        assert await count(host) is None


async def test_who_waits_for_a_run_that_is_stopped_at_once_is_told_that_it_was(
    tmp_path: Path,
) -> None:
    async with open_host(tmp_path, SPELLS) as host, asyncio.timeout(20):
        waiting = await host.begin("sleeps", {}, caller=ME)
        waiter = asyncio.ensure_future(waiting.result())
        assert (await waiting.cancel()).state == "canceled"
        assert (await waiter).state == "canceled"


async def test_of_two_answers_at_once_one_counts_and_the_other_is_told_so(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host, asyncio.timeout(20):
        handle = await parked(host)
        told = await asyncio.gather(
            handle.answer(True), handle.answer(False), return_exceptions=True
        )
        assert [isinstance(each, RunNotWaiting) for each in told] == [False, True]
        async for _ in handle.events():
            pass
        assert (await handle.result()).output == [True, 1]
