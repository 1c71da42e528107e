"""The clock moves by hours and days: while the owner lives, and while there is none.

`step` is what a machine's clock does that is set, or that was asleep: nobody is
woken by it. What was promised for a time is done at the next look at the clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmspell.clock import ManualClock
from llmspell.errors import AskExpired, RunCollected, RunNotWaiting
from llmspell.host.host import Host
from llmspell.runs.record import Run
from llmspell.security.principals import local_caller
from llmspell.state.store import Family
from tests.durability.following import ME, SECONDS, asked, ended, parked, records
from tests.support.hosts import open_host

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
LOOK = 31.0
"""The clock is looked at at least this often."""
LOOKS = 6
"""Looks that change nothing, after which nothing more is expected."""
START = datetime(2026, 5, 1, 6, 0, tzinfo=UTC).timestamp()

NAPS = """
return Spell.create {
  input = {},
  run = function()
    local before = now()
    sleep "3d"
    State.shared:increment "woken"
    return now() - before
  end,
}
"""

APPROVES = """
return Spell.create {
  input = {},
  run = function(input, ctx)
    local ok, answer = pcall(function() return ctx:ask { message = "Send it?" } end)
    if not ok then return answer.code end
    return State.shared:increment "sent"
  end,
}
"""

KEEPS = """
return Spell.create {
  input = { put = Schema.boolean { default = false } },
  run = function(input)
    if input.put then
      State.set("short", "here", { ttl = "10m" })
      State.set("long", "here", { ttl = "2d" })
      State.set("ever", "here")
    end
    local found = {}
    for _, item in ipairs((State.scan(""))) do found[#found + 1] = item.key end
    for _, name in ipairs { "short", "long", "ever" } do
      assert((State.get(name) ~= nil) == (found[1] == name or found[2] == name or found[3] == name))
    end
    return table.concat(found, " ")
  end,
}
"""

COUNTS = 'return Spell.create { input = {}, run = function() State.increment "n" end }'

PURE = "return Spell.create { input = {}, run = function() return 1 end }"


def daily(missed: str) -> str:
    return f"""
return Spell.create {{
  schedule = {{ cron = "0 7 * * *", missed = "{missed}" }},
  input = {{}},
  run = function() return State.increment "fired" end,
}}
"""


async def looked(clock: ManualClock) -> None:
    """Let a look at the clock pass."""
    for _ in range(10):  # whoever is about to wait for the next one gets there
        await asyncio.sleep(0)
    await clock.advance(LOOK)


async def scheduled(host: Host, spell: str) -> list[Run]:
    """Return the scheduled runs of a spell, the first due first."""
    caller = local_caller("schedule")
    page = await host.runs(caller=caller, session="schedule", limit=1000)
    return sorted((run for run in page.runs if run.spell == spell), key=due_of)


def due_of(run: Run) -> float:
    """Return when a scheduled run was due, which its key says."""
    return float(run.key.rpartition(":")[2])


async def quiet(host: Host, clock: ManualClock) -> None:
    """Return once nothing more is due or under way: looks at the clock change nothing.

    Several in a row: between a time due and its run stands a sync, which may take long.
    """
    async with asyncio.timeout(SECONDS):
        before: Sequence[object] = [None]
        unchanged = 0
        while unchanged < LOOKS:
            await looked(clock)
            await asyncio.sleep(0.05)
            now = sorted((run.id, run.state) for run in (await records(host)).values())
            unchanged = unchanged + 1 if now == before and not host.busy else 0
            before = now


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_sleep_of_three_days_ends_after_three_days(tmp_path: Path, restarted: bool) -> None:
    clock = ManualClock(START)
    async with open_host(tmp_path, {"naps": NAPS}, state="rocksdb", clock=clock) as host:
        handle = await host.start("naps", {})
        await parked(host, handle.id)
        clock.step(2.9 * DAY)
        await looked(clock)
        assert (await handle.record()).parked
        assert not host.busy
        if not restarted:
            clock.step(0.1 * DAY)
            await looked(clock)
            assert (await ended(handle)).output == pytest.approx(3 * DAY, abs=2 * LOOK)
    if restarted:
        clock.step(4 * DAY)  # nobody was there when it was due
        async with open_host(tmp_path, {"naps": NAPS}, state="rocksdb", clock=clock) as host:
            await looked(clock)
            again = await host.run(handle.id, caller=ME)
            assert (await ended(again)).output == pytest.approx(6.9 * DAY, abs=3 * LOOK)
            outcome = await host.cast_source("x.lua", "return State.shared:get 'woken'", {})
            assert outcome.output == 1


async def test_a_clock_set_back_only_makes_a_sleep_longer(tmp_path: Path) -> None:
    clock = ManualClock(START)
    async with open_host(tmp_path, {"naps": NAPS}, state="rocksdb", clock=clock) as host:
        handle = await host.start("naps", {})
        await parked(host, handle.id)
        clock.step(-DAY)
        await looked(clock)
        clock.step(3.5 * DAY)
        await looked(clock)
        assert (await handle.record()).parked
        clock.step(0.5 * DAY)
        await looked(clock)
        assert (await ended(handle)).ok


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_approval_expires_after_a_day(tmp_path: Path, restarted: bool) -> None:
    clock = ManualClock(START)
    spells = {"approves": APPROVES}
    async with open_host(tmp_path, spells, state="rocksdb", clock=clock) as host:
        handle = await host.start("approves", {})
        await parked(host, handle.id)
        clock.step(DAY - HOUR)
        await looked(clock)
        assert (await handle.record()).state == "input_required"
        if not restarted:
            clock.step(HOUR)
            await looked(clock)
            assert (await ended(handle)).output == AskExpired.code
    if restarted:
        clock.step(5 * DAY)
        async with open_host(tmp_path, spells, state="rocksdb", clock=clock) as host:
            again = await host.run(handle.id, caller=ME)
            await looked(clock)
            assert (await ended(again)).output == AskExpired.code
            with pytest.raises(RunNotWaiting):
                await (await host.run(handle.id, caller=ME)).answer(True)


async def test_an_approval_that_is_late_is_refused_even_before_anybody_looked(
    tmp_path: Path,
) -> None:
    clock = ManualClock(START)
    spells = {"approves": APPROVES}
    async with open_host(tmp_path, spells, state="rocksdb", clock=clock) as host:
        handle = await host.start("approves", {})
        await parked(host, handle.id)
        clock.step(DAY + 1)
        with pytest.raises(RunNotWaiting, match="expired"):
            await handle.answer(True)
        await looked(clock)
        assert (await ended(handle)).output == AskExpired.code


async def test_an_approval_is_answered_after_twenty_hours_and_a_restart(tmp_path: Path) -> None:
    clock = ManualClock(START)
    spells = {"approves": APPROVES}
    async with open_host(tmp_path, spells, state="rocksdb", clock=clock) as host:
        handle = await host.start("approves", {})
        [question] = await asked(handle)
        await parked(host, handle.id)
        clock.step(12 * HOUR)
        await looked(clock)
    clock.step(8 * HOUR)
    async with open_host(tmp_path, spells, state="rocksdb", clock=clock) as host:
        again = await host.run(handle.id, caller=ME)
        assert (await again.record()).questions == [question]
        await again.answer(True)
        assert (await ended(again)).output == 1


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_key_of_state_is_gone_once_its_time_is_over(
    tmp_path: Path, restarted: bool
) -> None:
    clock = ManualClock(START)
    async with open_host(tmp_path, {"keeps": KEEPS}, state="rocksdb", clock=clock) as host:
        assert (await host.cast("keeps", {"put": True})).output == "ever long short"
        clock.step(10 * MINUTE - 1)
        assert (await host.cast("keeps", {})).output == "ever long short"
        clock.step(1)
        assert (await host.cast("keeps", {})).output == "ever long"
        if not restarted:
            clock.step(2 * DAY)
            assert (await host.cast("keeps", {})).output == "ever"
            store = host.services.archive.store
            await store.sweep(limit=100)
            assert len(await store.scan(Family.KV, (ME.tenant,), limit=100)) == 1
    if restarted:
        clock.step(2 * DAY)
        async with open_host(tmp_path, {"keeps": KEEPS}, state="rocksdb", clock=clock) as host:
            assert (await host.cast("keeps", {})).output == "ever"


async def test_an_idempotency_key_is_free_after_a_day_without_an_owner(tmp_path: Path) -> None:
    clock = ManualClock(START)
    spells = {"counts": COUNTS}
    async with open_host(tmp_path, spells, state="rocksdb", clock=clock) as host:
        first = await host.cast("counts", {}, key="k")
    clock.step(DAY - 1)
    async with open_host(tmp_path, spells, state="rocksdb", clock=clock) as host:
        assert (await host.cast("counts", {}, key="k")).run_id == first.run_id
    clock.step(1)
    async with open_host(tmp_path, spells, state="rocksdb", clock=clock) as host:
        assert (await host.cast("counts", {}, key="k")).run_id != first.run_id


async def test_ended_runs_are_deleted_when_they_are_old_and_waiting_ones_never(
    tmp_path: Path,
) -> None:
    clock = ManualClock(START)
    spells = {"counts": COUNTS, "pure": PURE, "approves": APPROVES}

    def opened() -> AbstractAsyncContextManager[Host]:
        # Watched: only a host that is there to stay deletes by itself.
        return open_host(
            tmp_path, spells, state="rocksdb", clock=clock, watch=True, runs__ask="90d"
        )

    async with opened() as host:
        acted = (await host.cast("counts", {})).run_id
        pure = (await host.cast("pure", {})).run_id
        waiting = await host.start("approves", {})
        await parked(host, waiting.id)
        clock.step(23 * HOUR)
        await clock.advance(2 * MINUTE)
        assert set(await records(host)) == {acted, pure, waiting.id}
        clock.step(2 * HOUR)
        await until_only(host, clock, {acted, waiting.id})
        with pytest.raises(RunCollected):
            await host.run(pure, caller=ME)
    clock.step(29.5 * DAY)
    async with opened() as host:
        await until_only(host, clock, {waiting.id})
        with pytest.raises(RunCollected):
            await host.run(acted, caller=ME)
        again = await host.run(waiting.id, caller=ME)
        await again.answer(True)
        assert (await ended(again)).ok


async def until_only(host: Host, clock: ManualClock, left: set[str]) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            await clock.advance(MINUTE + 1)
            if set(await records(host)) == left:
                return
            await asyncio.sleep(0.01)


async def test_after_a_week_without_an_owner_each_schedule_keeps_its_policy(tmp_path: Path) -> None:
    clock = ManualClock(START)
    spells = {missed: daily(missed) for missed in ("once", "skip", "all")}
    async with open_host(tmp_path, spells, state="rocksdb", clock=clock) as host:
        clock.step(HOUR)
        await quiet(host, clock)
        for name in spells:
            assert [due_of(run) for run in await scheduled(host, name)] == [START + HOUR]
    clock.step(7 * DAY + 2 * HOUR)
    missed = [START + HOUR + number * DAY for number in range(1, 8)]
    async with open_host(tmp_path, spells, state="rocksdb", clock=clock) as host:
        await quiet(host, clock)
        fired = {name: [due_of(run) for run in await scheduled(host, name)][1:] for name in spells}
        assert fired == {"once": missed[-1:], "skip": [], "all": missed}
        clock.step(START + HOUR + 8 * DAY - clock.time())
        await quiet(host, clock)
        for name in spells:
            runs = await scheduled(host, name)
            assert due_of(runs[-1]) == START + HOUR + 8 * DAY
            assert {run.state for run in runs} == {"completed"}
            assert [run.output for run in runs] == list(range(1, len(runs) + 1))


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_clock_set_back_by_an_hour_repeats_no_schedule(
    tmp_path: Path, restarted: bool
) -> None:
    clock = ManualClock(START)
    spells = {missed: daily(missed) for missed in ("once", "skip", "all")}
    async with open_host(tmp_path, spells, state="rocksdb", clock=clock) as host:
        clock.step(HOUR)
        await quiet(host, clock)
        clock.step(-HOUR)
        await quiet(host, clock)
        if not restarted:
            await goes_on(host, clock, list(spells))
    if restarted:
        async with open_host(tmp_path, spells, state="rocksdb", clock=clock) as host:
            await goes_on(host, clock, list(spells))


async def goes_on(host: Host, clock: ManualClock, spells: list[str]) -> None:
    """The hour that comes a second time brings nothing, the next day one cast."""
    clock.step(HOUR)
    await quiet(host, clock)
    for name in spells:
        assert [due_of(run) for run in await scheduled(host, name)] == [START + HOUR]
    clock.step(START + HOUR + DAY - clock.time())
    await quiet(host, clock)
    for name in spells:
        dues = [due_of(run) for run in await scheduled(host, name)]
        assert dues == [START + HOUR, START + HOUR + DAY]
