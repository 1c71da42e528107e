"""Keeping: which ended runs are deleted and when, with all that belongs to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmspell.clock import ManualClock
from llmspell.config import RunSettings
from llmspell.effects.messages import Usage
from llmspell.errors import RunCollected, RunNotFound
from llmspell.host.keeping import PRUNE_SECONDS, SWEEP_SECONDS, Keeping, missing_run
from llmspell.host.keys import Keys
from llmspell.host.run_interface import Pruned
from llmspell.runs.archive import Archive
from llmspell.runs.record import Event, Run, RunState, new_run_id
from llmspell.security.principals import Caller
from llmspell.state.memory import MemoryStore
from llmspell.state.rocks import RocksStore
from llmspell.state.store import Family, Put, Store

HOUR, DAY = 3600.0, 86_400.0
ANN, BOB = Caller(principal="ann"), Caller(principal="bob")
FAMILIES = (Family.RUN, Family.EVENT, Family.JOURNAL, Family.KV, Family.DEDUP)


class World:
    """A store with runs in it, and a clock."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.archive = Archive(store)

    def keeping(self, **settings: Any) -> Keeping:
        return Keeping(self.store, self.clock, RunSettings(**settings))

    async def ended(
        self,
        *,
        ago: float = 0.0,
        state: RunState = "completed",
        parent: Run | None = None,
        caller: Caller = ANN,
        plain: bool = False,
        size: int = 0,
        key: str = "",
        **fields: Any,
    ) -> Run:
        """Write a run with everything a run can have, as it was so many seconds ago."""
        now = self.clock.time() - ago
        run = Run(
            id=new_run_id(now),
            tenant=caller.tenant,
            principal=caller.principal,
            session="s",
            spell="x",
            parent=parent.id if parent else None,
            state=state,
            output="x" * size,
            key=key,
            created_at=now,
            updated_at=now,
            **fields,
        )
        events = [Event(number=1, at=now, kind="state", data={"state": state})]
        await self.archive.save(run, events)
        rows = [
            Put(Family.KV, (caller.tenant, "run", run.id, "k"), b"v"),
            Put(Family.EVENT, (run.id, 2), b"\x80"),
        ]
        if not plain:
            rows.append(Put(Family.JOURNAL, (run.id, 1), b"\x80"))
        keys = Keys(self.store, seconds=DAY)
        if key:
            keys.begin(replace(caller, session="s"), "x", key, b"", run.id)
        await self.store.commit([*rows, *keys.writes(run)])
        return run

    async def left(self, caller: Caller = ANN) -> set[str]:
        found, _, _ = await self.archive.list(caller, limit=1000)
        return {run.id for run in found}

    async def rows(self, run: Run) -> list[Any]:
        """Return every key that has a run's id in it, its mark apart."""
        found: list[Any] = []
        for family in FAMILIES:
            for key, _ in await self.store.scan(family, (), limit=10_000):
                if run.id in key and key[0] != "gone":
                    found.append((family, key))
        return found


@pytest_asyncio.fixture(params=["memory", "rocksdb"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    clock = ManualClock()
    backend = MemoryStore if request.param == "memory" else RocksStore
    store = backend.open(tmp_path / "db", clock=clock)
    async with asyncio.timeout(60):
        yield World(store, clock)
    await store.close()


async def test_a_run_is_deleted_with_all_that_belongs_to_it_once_it_is_old(world: World) -> None:
    old = await world.ended(ago=31 * DAY, key="k1")
    new = await world.ended(ago=29 * DAY, key="k2")
    done = await world.keeping().prune()
    assert done.runs == 1
    assert done.bytes > 0
    assert await world.left() == {new.id}
    assert await world.rows(old) == []
    assert len(await world.rows(new)) >= 6


async def test_a_cast_without_effects_is_kept_for_a_shorter_time(world: World) -> None:
    plain = await world.ended(ago=25 * HOUR, plain=True)
    asked = await world.ended(ago=25 * HOUR, plain=True, usage=Usage(calls=1))
    acted = await world.ended(ago=25 * HOUR)
    fresh = await world.ended(ago=23 * HOUR, plain=True)
    await world.keeping().prune()
    assert await world.left() == {asked.id, acted.id, fresh.id}
    assert await world.rows(plain) == []


@pytest.mark.parametrize("state", ["submitted", "working", "input_required", "auth_required"])
async def test_what_has_not_ended_is_never_deleted_nor_what_it_began(
    world: World, state: RunState
) -> None:
    root = await world.ended(ago=400 * DAY, state=state)
    child = await world.ended(ago=399 * DAY, parent=root)
    grandchild = await world.ended(ago=399 * DAY, parent=child)
    keeping = world.keeping(keep_count=1, keep_bytes=1)
    assert await keeping.prune() == Pruned(runs=0, bytes=0)
    assert await keeping.prune(before=world.clock.time()) == Pruned(runs=0, bytes=0)
    assert await world.left() == {root.id, child.id, grandchild.id}


async def test_a_run_stays_while_something_it_began_goes_on(world: World) -> None:
    root = await world.ended(ago=400 * DAY)
    child = await world.ended(ago=399 * DAY, parent=root, state="working")
    await world.keeping().prune()
    assert await world.left() == {root.id, child.id}


async def test_children_go_with_their_root(world: World) -> None:
    root = await world.ended(ago=31 * DAY)
    child = await world.ended(ago=31 * DAY, parent=root, plain=True)
    young = await world.ended(ago=2 * DAY)
    plain_child = await world.ended(ago=2 * DAY, parent=young, plain=True)
    await world.keeping().prune()
    assert await world.left() == {young.id, plain_child.id}
    assert await world.rows(child) == []


async def test_the_newest_runs_stay_of_too_many(world: World) -> None:
    runs = [await world.ended(ago=number * HOUR) for number in range(6)]
    theirs = await world.ended(ago=10 * HOUR, caller=BOB)
    await world.keeping(keep_count=4).prune()
    assert await world.left() == {run.id for run in runs[:4]}
    assert await world.left(BOB) == {theirs.id}


async def test_the_newest_runs_stay_of_too_large_ones_and_the_very_newest_always(
    world: World,
) -> None:
    runs = [await world.ended(ago=number * HOUR, size=100_000) for number in range(3)]
    small = await world.ended(ago=5 * HOUR)
    await world.keeping(keep_bytes="250KB").prune()
    # What is older than one that went goes too, small or not.
    assert await world.left() == {run.id for run in runs[:2]}
    assert await world.rows(small) == []
    await world.keeping(keep_bytes=1).prune()
    assert await world.left() == {runs[0].id}


async def test_all_of_one_caller_before_a_time_are_deleted_on_demand(world: World) -> None:
    old = await world.ended(ago=3 * HOUR)
    new = await world.ended(ago=1 * HOUR)
    theirs = await world.ended(ago=3 * HOUR, caller=BOB)
    before = world.clock.time() - 2 * HOUR
    keeping = world.keeping()
    counted = await keeping.prune(caller=ANN, before=before, dry=True)
    assert counted.runs == 1
    assert await world.left() == {old.id, new.id}
    assert await keeping.prune(caller=ANN, before=before) == counted
    assert await world.left() == {new.id}
    assert await world.left(BOB) == {theirs.id}


async def test_what_was_deleted_and_what_never_was_are_different_errors(world: World) -> None:
    run = await world.ended(ago=31 * DAY)
    await world.keeping().prune()
    assert isinstance(await missing_run(world.store, ANN, run.id), RunCollected)
    unknown = new_run_id(world.clock.time() - 31 * DAY)
    assert isinstance(await missing_run(world.store, ANN, unknown), RunNotFound)
    for other in (BOB, Caller(principal="ann", tenant="else")):
        assert isinstance(await missing_run(world.store, other, run.id), RunNotFound)
    await world.clock.advance(31 * DAY)
    assert isinstance(await missing_run(world.store, ANN, run.id), RunNotFound)


async def test_an_idempotency_key_that_now_leads_to_a_newer_run_stays(world: World) -> None:
    keys, ann = Keys(world.store, seconds=DAY), replace(ANN, session="s")
    keeping = world.keeping()
    for older, newer in ((2 * DAY, 6 * HOUR), (5 * HOUR, HOUR)):
        # A key is used again when it has expired; that of a spell which joins, in each run's turn.
        await world.ended(ago=older, key="k")
        run = await world.ended(ago=newer, key="k")
        await keeping.prune(before=world.clock.time() - newer - 1)
        assert await keys.run_of(ann, "x", "k") == run.id
    await keeping.prune(before=world.clock.time())
    assert await keys.run_of(ann, "x", "k") is None


async def test_many_runs_of_many_principals_are_deleted_in_one_go(world: World) -> None:
    callers = [Caller(principal=f"p{number}") for number in range(3)]
    for caller in callers:
        for number in range(210):
            await world.ended(ago=40 * DAY + number, caller=caller)
        await world.ended(caller=caller)
    done = await world.keeping().prune()
    assert done.runs == 630
    for caller in callers:
        assert len(await world.left(caller)) == 1
    assert (await world.keeping().prune()).runs == 0


async def test_a_measured_run_is_not_read_again(world: World) -> None:
    run = await world.ended(ago=HOUR, size=1000)
    keeping = world.keeping()
    await keeping.prune()
    await world.store.commit([Put(Family.EVENT, (run.id, 3), b"x" * 5000)])
    counted = await keeping.prune(before=world.clock.time(), dry=True)
    assert 1000 < counted.bytes < 5000


async def test_it_deletes_by_itself_as_time_passes_and_sweeps_what_has_expired(
    world: World,
) -> None:
    run = await world.ended(ago=29 * DAY)
    kept = await world.ended()
    await world.store.commit([Put(Family.DEDUP, ("x",), b"", expires_at=world.clock.time() + HOUR)])
    keeping = world.keeping()
    keeping.begin()
    try:
        await world.clock.sleeper()
        assert await world.left() == {run.id, kept.id}
        world.clock.step(DAY + PRUNE_SECONDS)  # a laptop that was closed
        await world.clock.advance(SWEEP_SECONDS)
        await world.clock.sleeper()
        assert await world.left() == {kept.id}
        assert await world.store.sweep() == 0
    finally:
        await keeping.close()
        await keeping.close()
