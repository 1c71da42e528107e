"""The journal: what was recorded is recalled, once and in its order, and nothing else is."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.clock import ManualClock
from llmspell.errors import LimitHistory, RunDiverged, StateConflict, StateError
from llmspell.runs.journal import PENDING_RECORDS, Journal
from llmspell.runs.journal_records import UNRECORDED, copied, last_number, read_journal
from llmspell.state.memory import MemoryStore
from llmspell.state.store import Check, Durability, Family, Put
from tests.server.host.failing_store import FailingStore, everything

CLOCK = ManualClock()


def journal(store: MemoryStore, *, limit: int = 1000) -> Journal:
    return Journal("r", store, CLOCK, limit=limit)


async def again(store: MemoryStore, run: str = "r") -> Journal:
    journal = Journal(run, store, CLOCK, limit=1000)
    await journal.restore(await read_journal(store, run))
    return journal


async def test_a_record_is_recalled_once_with_what_it_came_to() -> None:
    store = MemoryStore()
    first = journal(store)
    assert first.take(":1", "model", "m") is None
    await first.record(":1", "model", "m", {"text": "hi"})
    await first.record(":2", "model", "m", {"code": "model.failed"}, ok=False)
    second = await again(store)
    row = second.take(":1", "model", "m")
    assert row is not None
    assert row.record.value == {"text": "hi"}
    assert row.record.ok
    assert second.take(":1", "model", "m") is None
    failed = second.take(":2", "model", "m")
    assert failed is not None
    assert not failed.record.ok
    assert not second.is_replaying


async def test_what_is_noted_is_written_with_the_next_record_before_it() -> None:
    store = MemoryStore()
    first = journal(store)
    first.note(":1", "state.get", "k", 1)
    assert await read_journal(store, "r") == []
    await first.record(":2", "model", "m", "x")
    assert [row.record.key for row in await read_journal(store, "r")] == [":1", ":2"]


async def test_a_thousand_notes_are_as_much_as_is_written_at_once() -> None:
    noted = journal(MemoryStore(), limit=2 * PENDING_RECORDS)
    for number in range(PENDING_RECORDS - 1):
        noted.note(f":{number}", "sleep", "1", None)
    assert not noted.is_heavy
    noted.note(":last", "sleep", "1", None)
    assert noted.is_heavy
    await noted.flush()
    assert not noted.is_heavy


async def test_thousands_of_records_are_restored_in_turns_of_the_event_loop() -> None:
    store = MemoryStore()
    first = journal(store, limit=3000)
    for number in range(3000):
        first.note(f":{number}", "sleep", "1", None)
    await first.flush()
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    going = asyncio.ensure_future(other())
    second = await again(store)
    going.cancel()
    assert others > 10
    assert [second.take(f":{number}", "sleep", "1") is None for number in (0, 2999)] == [False] * 2
    assert await last_number(store, "r") == 3000


async def test_what_is_noted_can_be_written_by_itself() -> None:
    store = MemoryStore()
    first = journal(store)
    await first.flush()
    assert await read_journal(store, "r") == []
    first.delivered("@")
    await first.flush()
    (row,) = await read_journal(store, "r")
    assert (row.record.kind, [mark.key for mark in row.record.after]) == ("order", ["@"])


async def test_another_kind_or_name_at_a_key_is_a_divergence_that_shows_both() -> None:
    store = MemoryStore()
    await journal(store).record(":1", "model", "m", "x")
    second = await again(store)
    with pytest.raises(RunDiverged, match=r"cast 'other' where it asked for model 'm'") as raised:
        second.take(":1", "cast", "other")
    assert raised.value.data["recorded"]["name"] == "m"
    assert raised.value.data["asked"] == {"kind": "cast", "name": "other"}
    assert "runs fork r --step 1" in raised.value.hint


async def test_messages_of_before_are_to_be_given_in_their_order() -> None:
    store = MemoryStore()
    first = journal(store)
    for key in ("@", ":2", ":1"):
        first.delivered(key)
    await first.record(":3", "model", "m", "x")
    second = await again(store)
    for key in ("@", ":2", ":1"):
        mark = second.next_mark
        assert mark is not None
        assert mark.key == key
        second.delivered(key)
    assert second.next_mark is None
    assert second.is_replaying  # the record is left
    second.take(":3", "model", "m")
    assert not second.is_replaying


async def test_an_answer_is_given_with_the_time_it_was_given_before() -> None:
    store, clock = MemoryStore(), ManualClock()
    first = Journal("r", store, clock, limit=10)
    await first.record(":1", "model", "m", "x")
    await clock.advance(5)
    told = first.delivered(":1")
    assert told == clock.time() - 5  # when it was recorded
    composite = first.delivered(":2")
    assert composite == clock.time()
    await first.flush()
    await clock.advance(1000)
    second = Journal("r", store, clock, limit=10)
    await second.restore(await read_journal(store, "r"))
    assert [second.delivered(":1"), second.delivered(":2")] == [told, composite]


async def test_who_is_not_recorded_waits_until_all_that_is_has_been_recalled() -> None:
    store = MemoryStore()
    await journal(store).record(":1", "model", "m", "x")
    second = await again(store)
    waiter = asyncio.ensure_future(second.caught_up())
    await asyncio.sleep(0)
    assert not waiter.done()
    second.take(":1", "model", "m")
    async with asyncio.timeout(5):
        await waiter


async def test_a_canceled_branch_is_not_waited_for() -> None:
    store = MemoryStore()
    first = journal(store)
    for key in (":1.1:1", ":1.1/2.1:1", ":1.12:1", ":1.2:1"):
        await first.record(key, "model", "m", "x")
        first.delivered(key)
    await first.flush()
    second = await again(store)
    second.discard(":1.1")
    assert second.peek(":1.1:1") is None
    assert second.peek(":1.1/2.1:1") is None
    assert second.peek(":1.12:1") is not None
    mark = second.next_mark
    assert mark is not None
    assert mark.key == ":1.12:1"


async def test_a_record_that_is_refused_takes_nothing_with_it() -> None:
    store = MemoryStore()
    first = journal(store)
    first.note(":1", "state.get", "k", 1)
    first.delivered("@")
    wrong = Check(Family.KV, ("nothing",), 7)
    with pytest.raises(StateConflict), first.slip(":2", "state.set", "k") as slip:
        await store.commit(slip.writes(None), checks=(wrong,))
    assert await read_journal(store, "r") == []
    await first.record(":2", "state.set", "k", None)
    rows = await read_journal(store, "r")
    assert [row.record.key for row in rows] == [":1", ":2"]
    assert [mark.key for mark in rows[0].record.after] == ["@"]


async def test_a_commit_that_was_written_and_failed_is_written_over() -> None:
    store = FailingStore()
    first = journal(store)
    first.note(":1", "state.get", "k", 1)
    first.delivered("@")
    store.lose_once(everything)
    with pytest.raises(StateError):
        await first.record(":2", "model", "m", "x")
    landed = [row.record.key for row in await read_journal(store, "r")]
    assert landed == [":1", ":2"]
    first.delivered(":2")
    await first.record(":3", "model", "m", "y")
    rows = await read_journal(store, "r")
    assert [row.record.key for row in rows] == [":1", "", ":3"]
    assert [[mark.key for mark in row.record.after] for row in rows] == [["@"], [], [":2"]]


@given(
    st.lists(st.tuples(st.sampled_from("rndfs"), st.sampled_from(["", "", "refuse", "lose"]))),
    st.integers(0, 5),
)
def test_whatever_becomes_of_commits_each_record_is_there_once_and_all_messages_in_their_order(
    steps: list[tuple[str, str]], others: int
) -> None:
    async def check() -> None:
        store = FailingStore()
        first = journal(store)
        kinds: dict[str, str] = {}
        marks: list[str] = []
        kept = Check(Family.KV, ("nothing",), 7)

        async def record(key: str) -> None:
            with first.slip(key, "model", "m") as slip:
                with pytest.raises(StateConflict):
                    await store.commit(slip.writes(1), checks=(kept,))
                await asyncio.sleep(0)
                await store.commit(slip.writes(2))

        async def step(key: str, what: str) -> None:
            try:
                if what == "r":
                    await first.record(key, "model", "m", 2)
                elif what == "s":
                    await record(key)
                elif what == "n":
                    first.note(key, "model", "m", 2)
                elif what == "d":
                    first.delivered(key)
                    marks.append(key)
                    return
                else:
                    await first.flush()
                    return
            except StateError as error:
                if what == "s":
                    first.note(key, UNRECORDED, "m", None, ok=False)
                else:
                    first.note_unrecorded(key, error)
                kinds[key] = UNRECORDED
            else:
                kinds[key] = "model"

        under_way: list[asyncio.Task[None]] = []
        for number, (what, fate) in enumerate(steps):
            store.refuses = everything if fate == "refuse" else None
            store.loses = everything if fate == "lose" else None
            under_way.append(asyncio.ensure_future(step(f":{number}", what)))
            if number % 6 >= others:
                await asyncio.sleep(0)
        await asyncio.gather(*under_way, return_exceptions=True)
        store.refuses = store.loses = None
        await first.flush()
        rows = await read_journal(store, "r")
        found = {row.record.key: row.record.kind for row in rows if row.record.key}
        assert len(found) == len([row for row in rows if row.record.key])
        assert found == kinds
        assert [mark.key for row in rows for mark in row.record.after] == marks

    asyncio.run(check())


async def test_a_record_has_the_version_of_the_commit_it_was_in() -> None:
    store = MemoryStore()
    with journal(store).slip(":1", "state.set", "k") as slip:
        version = await store.commit([Put(Family.KV, ("k",), b"v"), *slip.writes(None)])
    assert [row.version for row in await read_journal(store, "r")] == [version]


async def test_a_run_records_no_more_than_it_may() -> None:
    first = journal(MemoryStore(), limit=2)
    first.note(":1", "state.get", "k", 1)
    await first.record(":2", "model", "m", "x")
    with pytest.raises(LimitHistory, match="more than 2"):
        await first.record(":3", "model", "m", "x")


async def test_a_fork_begins_with_the_records_and_asks_open_questions_anew() -> None:
    store = MemoryStore()
    first = journal(store)
    await first.record(":1", "model", "m", "x")
    first.delivered(":1")
    await first.record(":2", "ask", "q", {"id": "1"}, begun=True)
    await first.record(":3", "sleep", "9", 17.0, begun=True)
    await store.commit(copied(await read_journal(store, "r"), "f"))
    fork = await again(store, "f")
    assert fork.take(":1", "model", "m") is not None
    assert fork.begun(":2") is None
    assert fork.begun(":3") == 17.0
    mark = fork.next_mark
    assert mark is not None
    assert mark.key == ":1"
    assert await last_number(store, "f") == 3
    assert await last_number(store, "none") == 0


@given(st.lists(st.tuples(st.sampled_from("rnd"), st.integers(1, 99)), max_size=30))
def test_whatever_is_recorded_noted_and_delivered_comes_back(steps: list[tuple[str, int]]) -> None:
    async def check() -> None:
        store = MemoryStore()
        first = journal(store)
        keys: list[str] = []
        marks: list[str] = []
        for number, (what, name) in enumerate(steps):
            key = f":{number}"
            if what == "r":
                await first.record(key, "model", str(name), name, durability=Durability.MEMORY)
                keys.append(key)
            elif what == "n":
                first.note(key, "state.get", str(name), name)
                keys.append(key)
            else:
                first.delivered(key)
                marks.append(key)
        await first.flush()
        second = await again(store)
        for mark in marks:
            following = second.next_mark
            assert following is not None
            assert following.key == mark
            second.delivered(mark)
        for key in reversed(keys):
            what, name = steps[int(key[1:])]
            kind = "model" if what == "r" else "state.get"
            row = second.take(key, kind, str(name))
            assert row is not None
            assert row.record.value == name
        assert not second.is_replaying

    asyncio.run(check())
