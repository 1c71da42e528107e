"""A run under way: its record and its log tell the same, in memory and in the store."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmspell.clock import ManualClock
from llmspell.effects.messages import Usage
from llmspell.errors import InternalError, RunError, StateDiskFull, StateError
from llmspell.runs.archive import Archive
from llmspell.runs.live import LiveRun
from llmspell.runs.record import TERMINAL, TRANSITIONS, Event, Run, RunState
from llmspell.security.principals import Caller
from llmspell.state.store import Delete, Durability, Family
from tests.server.host.failing_store import FailingStore, everything
from tests.support.gated_store import GatedStore

CALLER = Caller(principal="p", tenant="t")
STATES: tuple[RunState, ...] = get_args(RunState)


@pytest.fixture
def store() -> GatedStore:
    return GatedStore()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(start=1000.0)


@pytest.fixture
def live(store: GatedStore, clock: ManualClock) -> LiveRun:
    run = Run(
        id="r1",
        tenant="t",
        principal="p",
        session="s",
        spell="hello",
        created_at=1000.0,
        updated_at=1000.0,
    )
    return LiveRun(run, Archive(store), clock)


async def stored(store: GatedStore) -> tuple[Run, list[Event]]:
    archive = Archive(store)
    return await archive.load("t", "r1"), await archive.events("r1")


async def listed(store: GatedStore) -> list[str]:
    runs, _, total = await Archive(store).list(CALLER, limit=10)
    assert total == len(runs)
    return [run.state for run in runs]


# --- states


@pytest.mark.parametrize("before", STATES)
@pytest.mark.parametrize("after", STATES)
async def test_only_the_transitions_of_the_table_are_made(
    live: LiveRun, before: RunState, after: RunState
) -> None:
    live.run.state = before
    legal = after in TRANSITIONS[before]
    if after in TERMINAL:
        ending = asyncio.ensure_future(live.finish(after))
    else:

        async def enter() -> None:
            live.enter(after)

        ending = asyncio.ensure_future(enter())
    if legal:
        await ending
        assert live.run.state == after
    else:
        with pytest.raises(RunError, match=f"cannot go from {before} to {after}"):
            await ending
        assert live.run.state == before
        assert len(live.log) == 0


async def test_a_change_of_state_is_an_event_at_the_time_it_happened(
    live: LiveRun, clock: ManualClock
) -> None:
    await clock.advance(5)
    live.enter("working", message="begun")
    (event,) = live.log.unsaved()
    assert (event.kind, event.data) == ("state", {"state": "working", "message": "begun"})
    assert live.run.updated_at == event.at == 1005.0
    assert live.run.generation == 1


async def test_what_is_no_kind_of_event_is_refused(live: LiveRun) -> None:
    with pytest.raises(InternalError, match="'gossip'"):
        live.note("gossip", {})


# --- the end


async def test_the_end_is_written_before_any_reader_sees_it(
    live: LiveRun, store: GatedStore
) -> None:
    live.enter("working")
    seen: list[str] = []

    async def read() -> None:
        async for event in live.log.read():
            seen.append(event.data["state"])

    reader = asyncio.get_running_loop().create_task(read())
    store.shut()
    ending = asyncio.get_running_loop().create_task(live.finish("completed", output=42))
    async with asyncio.timeout(5):
        await store.arrival()
        for _ in range(10):
            await asyncio.sleep(0)
        assert seen == ["working"]
        assert live.run.state == "working"
        store.open_gate()
        await ending
        await reader
        await live.stopped()
    assert seen == ["working", "completed"]
    run, events = await stored(store)
    assert (run.state, run.output, run.generation) == ("completed", 42, 2)
    assert [event.number for event in events] == [1, 2]


async def test_the_end_keeps_what_came_of_the_run(live: LiveRun, store: GatedStore) -> None:
    live.enter("working")
    error = {"code": "spell.raised", "message": "no"}
    await live.finish("failed", error=error, usage=Usage(calls=3), durability=Durability.DURABLE)
    run, events = await stored(store)
    assert (run.state, run.error, run.usage.calls) == ("failed", error, 3)
    assert events[-1].data == {"state": "failed", "error": error}
    assert [durability for _, durability in store.commits] == [Durability.DURABLE]


async def test_a_run_is_saved_with_its_events_in_one_commit_when_it_ends(
    live: LiveRun, store: GatedStore
) -> None:
    live.enter("working")
    live.note("log", {"message": "one"})
    assert store.commits == []
    await live.finish("completed")
    assert len(store.commits) == 1
    assert [event.number for event in (await stored(store))[1]] == [1, 2, 3]


async def test_what_a_straggler_says_while_the_end_is_written_comes_to_nothing(
    live: LiveRun, store: GatedStore
) -> None:
    live.enter("working")
    store.shut()
    ending = asyncio.get_running_loop().create_task(live.finish("completed"))
    async with asyncio.timeout(5):
        await store.arrival()
        live.note("log", {"message": "too late"})
        with pytest.raises(RunError):
            live.enter("input_required")
        store.open_gate()
        await ending
    live.note("log", {"message": "later still"})
    run, events = await stored(store)
    assert [event.kind for event in events] == ["state", "state"]
    assert run.generation == events[-1].number == 2


async def test_of_two_ends_the_first_is_the_end(live: LiveRun, store: GatedStore) -> None:
    live.enter("working")
    store.shut()
    async with asyncio.timeout(5):
        first = asyncio.get_running_loop().create_task(live.finish("completed"))
        second = asyncio.get_running_loop().create_task(live.finish("canceled"))
        await store.arrival()
        store.open_gate()
        await first
        with pytest.raises(RunError, match="cannot go from completed to canceled"):
            await second
    run, events = await stored(store)
    assert run.state == "completed"
    assert [event.data["state"] for event in events] == ["working", "completed"]


async def test_an_end_that_cannot_be_written_is_not_shown_and_may_be_tried_again(
    live: LiveRun, store: GatedStore
) -> None:
    live.enter("working")
    store.is_full = True
    with pytest.raises(StateDiskFull):
        await live.finish("completed")
    assert live.run.state == "working"
    live.note("log", {"message": "still here"})
    store.is_full = False
    await live.finish("failed")
    assert [event.kind for event in (await stored(store))[1]] == ["state", "log", "state"]


async def test_an_abandoned_run_lets_its_readers_go_and_stays_as_it_is_in_the_store(
    live: LiveRun, store: GatedStore
) -> None:
    live.enter("working")
    await live.save()
    live.abandon()
    async with asyncio.timeout(5):
        await live.stopped()
        assert [event.number async for event in live.log.read()] == [1]
    assert (await stored(store))[0].state == "working"


# --- saving on the way


async def test_a_run_nobody_has_a_handle_of_is_not_written_until_it_ends(
    live: LiveRun, store: GatedStore
) -> None:
    live.enter("working")
    for number in range(100):
        live.note("log", {"message": str(number)})
    assert not live.is_saved
    assert asyncio.all_tasks() == {asyncio.current_task()}  # nothing will save it later
    assert store.commits == []


async def test_a_run_that_is_not_kept_ends_for_its_readers_and_leaves_nothing(
    live: LiveRun, store: GatedStore
) -> None:
    live.enter("working")
    await live.finish("completed", output="x", is_kept=False)
    assert [event.kind async for event in live.log.read(0)] == ["state", "state"]
    assert live.run.output == "x"
    assert await listed(store) == []


async def test_a_burst_of_events_of_a_saved_run_is_one_commit(
    live: LiveRun, store: GatedStore
) -> None:
    await live.save(Durability.DURABLE)
    live.enter("working")
    for number in range(100):
        live.note("log", {"message": str(number)})
    async with asyncio.timeout(10):
        await store.written(2)
    run, events = await stored(store)
    assert len(store.commits) == 2
    assert [event.number for event in events] == list(range(1, 102))
    assert (run.state, run.generation) == ("working", 101)


async def test_saving_when_nothing_is_new_writes_nothing(live: LiveRun, store: GatedStore) -> None:
    await live.save()
    await live.save()
    assert len(store.commits) == 1
    # A promise of durability is kept even then.
    await live.save(Durability.DURABLE)
    assert len(store.commits) == 2


async def test_what_happens_during_a_save_is_saved_after_it(
    live: LiveRun, store: GatedStore
) -> None:
    live.enter("working")
    store.shut()
    saving = asyncio.get_running_loop().create_task(live.save())
    async with asyncio.timeout(10):
        await store.arrival()
        live.note("log", {"message": "meanwhile"})
        store.open_gate()
        await saving
        await store.written(2)
    assert [event.kind for event in (await stored(store))[1]] == ["state", "log"]


async def test_a_change_of_state_during_a_save_leaves_the_run_once_in_the_list(
    live: LiveRun, store: GatedStore, clock: ManualClock
) -> None:
    live.enter("working")
    store.shut()
    saving = asyncio.get_running_loop().create_task(live.save())
    async with asyncio.timeout(5):
        await store.arrival()
        await clock.advance(1)
        live.enter("input_required")
        store.open_gate()
        await saving
        await clock.advance(1)
        live.enter("working")
        await live.save()
        assert await listed(store) == ["working"]
        await clock.advance(1)
        await live.finish("completed")
    assert await listed(store) == ["completed"]
    assert len(await store.scan(Family.RUN, ("by",))) == 1


@pytest.mark.parametrize("is_saved", [False, True])
@pytest.mark.parametrize("is_ended", [False, True])
async def test_a_save_whose_end_nobody_saw_leaves_the_run_once_in_every_list(
    live: LiveRun, store: GatedStore, clock: ManualClock, is_saved: bool, is_ended: bool
) -> None:
    if is_saved:
        await live.save()
    await clock.advance(1)
    live.enter("working")
    store.hold_syncs()
    saving = asyncio.ensure_future(
        live.finish("failed", durability=Durability.DURABLE)
        if is_ended
        else live.save(Durability.DURABLE)
    )
    await store.arrival()
    saving.cancel()  # it is written, and its caller does not hear of that
    with pytest.raises(asyncio.CancelledError):
        await saving
    store.open_gate()
    assert live.is_saved == is_saved
    await clock.advance(1)
    live.enter("input_required")
    await live.save()
    assert await listed(store) == ["input_required"]
    assert [run.id for run in await Archive(store).live()] == ["r1"]
    await clock.advance(1)
    live.enter("working")
    await live.finish("completed")
    assert await listed(store) == ["completed"]
    assert await Archive(store).live() == []


async def test_a_disk_that_stays_full_costs_a_run_no_memory(
    live: LiveRun, store: GatedStore, clock: ManualClock
) -> None:
    live.enter("working")
    store.is_full = True
    for _ in range(5):
        with pytest.raises(StateDiskFull):
            await live.save()
    store.is_full = False
    await clock.advance(1)
    live.enter("input_required")
    await live.save()
    writes, _ = store.commits[-1]
    lists = [each for each in writes if isinstance(each, Delete) and each.family is Family.RUN]
    assert len(lists) <= 2  # not one for each attempt
    assert await listed(store) == ["input_required"]


async def test_nothing_is_saved_of_a_run_that_was_abandoned(
    live: LiveRun, store: GatedStore
) -> None:
    await live.save()
    live.note("log", {"level": "info", "message": "late"})
    live.abandon()
    await asyncio.sleep(0)  # what was to save it has heard
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert len(store.commits) == 1


async def test_a_save_that_fails_in_the_background_is_remembered(
    live: LiveRun, store: GatedStore
) -> None:
    await live.save()
    store.is_full = True
    live.enter("working")
    async with asyncio.timeout(10):
        await store.refusal()
    await asyncio.sleep(0)
    assert isinstance(live.failure, StateDiskFull)


async def test_a_run_taken_up_again_goes_on_after_its_last_event(
    live: LiveRun, store: GatedStore, clock: ManualClock
) -> None:
    live.enter("input_required")
    await live.save()
    run, events = await stored(store)
    again = LiveRun(run, Archive(store), clock, events=events)
    assert again.is_saved
    await clock.advance(1)
    await again.finish("canceled")
    assert [event.number for event in (await stored(store))[1]] == [1, 2]
    assert await listed(store) == ["canceled"]
    assert await Archive(store).live() == []


@example(steps=[(700, "save", "lose"), (0, "some", "")], size=3)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 700),  # so many events more, then
            st.sampled_from(["save", "some", "finish"]),
            st.sampled_from(["", "refuse", "lose"]),
        ),
        max_size=6,
    ),
    st.integers(0, 300),
)
def test_whatever_becomes_of_saves_the_store_has_each_event_once(
    steps: list[tuple[int, str, str]], size: int
) -> None:
    async def check() -> None:
        store = FailingStore()
        run = Run(id="r1", tenant="t", principal="p", session="s", spell="hello")
        live = LiveRun(run, Archive(store), ManualClock(start=1000.0))
        live.enter("working")
        for more, what, fate in steps:
            for number in range(more):
                live.note("log", {"level": "info", "message": "m" * (number * size % 999)})
            store.refuses = everything if fate == "refuse" else None
            store.loses = everything if fate == "lose" else None
            with suppress(StateError):
                if what == "finish":
                    await live.finish("completed")
                    break
                await live.save(most=400 if what == "some" else None)
        store.refuses = store.loses = None
        if not live.run.is_final:
            await live.save(Durability.DURABLE)
        live.abandon()
        found = await Archive(store).events("r1")
        assert found == [event async for event in live.log.read()]
        assert [event.number for event in found] == list(range(1, len(found) + 1))

    asyncio.run(check())
