"""A disk that does not answer for a moment when a run is to go on: it goes on after that."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from llmspell.clock import ManualClock
from llmspell.runs.record import Run, new_run_id
from llmspell.state.store import Family
from tests.durability.following import ME, ended, parked
from tests.server.host.failing_store import failing_host

COUNTS = 'return Spell.create { run = function() return State.shared:increment "count" end }'
SLEEPS = """return Spell.create { run = function()
  sleep(600)
  return "awake"
end }"""


@pytest.mark.parametrize("family", [Family.RUN, Family.JOURNAL])
async def test_a_run_nobody_opened_goes_on_although_it_could_not_be_read_at_its_time(
    family: Family, tmp_path: Path
) -> None:
    clock = ManualClock()
    async with failing_host(tmp_path, {"counts": COUNTS}, clock=clock) as (host, store):
        spell = host.catalogue().get("counts")
        assert spell is not None
        left = Run(
            id=new_run_id(1.0),
            tenant=ME.tenant,
            principal=ME.principal,
            session=ME.session,
            spell=spell.name,
            spell_version=spell.version,
            state="working",
            input={},
            parked=True,
            wake_at=clock.time() + 60,
        )
        await host.services.archive.save(left, [])
        async with asyncio.timeout(10):
            running = host._running  # pyright: ignore[reportPrivateUsage]  # as when it is opened
            await running.recover()
            store.unread = family
            await clock.advance(60)
            await store.refused.wait()
            assert host.busy
            store.unread = None
            await clock.advance(5)
            handle = await host.run(left.id, caller=ME)
            assert (await ended(handle)).output == 1


async def test_a_parked_run_is_not_ended_by_a_journal_that_cannot_be_read_for_a_moment(
    tmp_path: Path,
) -> None:
    clock = ManualClock()
    async with failing_host(tmp_path, {"sleeps": SLEEPS}, clock=clock) as (host, store):
        async with asyncio.timeout(10):
            handle = await host.start("sleeps", {}, caller=ME)
            await parked(host, handle.id)
            store.unread = Family.JOURNAL
            await clock.advance(600)
            await store.refused.wait()
            store.unread = None
            await clock.advance(5)
            assert (await ended(handle)).output == "awake"


async def test_a_host_closes_while_a_run_waits_to_be_read(tmp_path: Path) -> None:
    clock = ManualClock()
    async with failing_host(tmp_path, {"sleeps": SLEEPS}, clock=clock) as (host, store):
        async with asyncio.timeout(10):
            handle = await host.start("sleeps", {}, caller=ME)
            await parked(host, handle.id)
            store.unread = Family.JOURNAL
            await clock.advance(600)
            await store.refused.wait()
            await host.close()
