"""What a transaction reads, writes and refuses; that it is serialisable is tested next door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmspell.clock import ManualClock
from llmspell.errors import StateConflict, StateError, StateForeign, StateTooLarge
from llmspell.state.memory import MemoryStore
from llmspell.state.rocks import RocksStore
from llmspell.state.store import Delete, Family, Key, Put, Store
from llmspell.state.transactions import (
    LONGEST_PAUSE_SECONDS,
    MAX_READS,
    MAX_WRITE_BYTES,
    MAX_WRITES,
    Transaction,
    pause,
    run,
)

KV = Family.KV
A: Key = ("t", "a")
B: Key = ("t", "b")


@pytest.fixture(params=["memory", "rocksdb"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened = MemoryStore() if request.param == "memory" else RocksStore.open(tmp_path / "db")
    yield opened
    await opened.close()


# --- reading


async def test_it_reads_what_was_there_when_it_began_and_what_it_wrote(store: Store) -> None:
    version = await store.commit([Put(KV, A, b"old")])
    transaction = Transaction(store, "t")
    await store.commit([Put(KV, A, b"new"), Put(KV, B, b"new")])
    entry = transaction.get(A)
    assert entry is not None
    assert (entry.value, entry.version) == (b"old", version)
    assert transaction.get(B) is None
    transaction.put(B, b"mine")
    entry = transaction.get(B)
    assert entry is not None
    assert (entry.value, entry.version) == (b"mine", 0)
    transaction.delete(A)
    assert transaction.get(A) is None
    assert [key for key, _ in transaction.scan(("t",))] == [B]
    transaction.close()


async def test_one_that_only_read_needs_no_check(store: Store) -> None:
    await store.commit([Put(KV, A, b"")])
    transaction = Transaction(store, "t")
    transaction.get(A)
    transaction.scan(("t",))
    version = await store.commit([Put(KV, A, b"")])
    assert await transaction.commit() == version - 1
    transaction = Transaction(store, "t")
    transaction.get(A)
    await store.commit([Put(KV, A, b"")])
    record = Put(Family.JOURNAL, ("run", 1), b"")
    await transaction.commit([record])
    assert await store.get(Family.JOURNAL, ("run", 1)) is not None


Own: TypeAlias = dict[int, bytes | None]
_keys = st.integers(0, 6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    held=st.dictionaries(_keys, st.binary(max_size=1)),
    own=st.dictionaries(_keys, st.none() | st.binary(max_size=1)),
    after=st.none() | _keys,
    before=st.none() | _keys,
    limit=st.integers(0, 5),
    reverse=st.booleans(),
)
async def test_a_scan_is_that_of_a_dict_with_its_own_writes_in_it(
    store: Store,
    held: dict[int, bytes],
    own: Own,
    after: int | None,
    before: int | None,
    limit: int,
    reverse: bool,
) -> None:
    await store.commit([Delete(KV, ("t", n)) for n in range(7)])
    await store.commit([Put(KV, ("t", n), value) for n, value in held.items()])
    transaction = Transaction(store, "t")
    for n, value in own.items():
        if value is None:
            transaction.delete(("t", n))
        else:
            transaction.put(("t", n), value)
    found = transaction.scan(
        ("t",),
        after=None if after is None else ("t", after),
        before=None if before is None else ("t", before),
        limit=limit,
        reverse=reverse,
    )
    merged = {n: value for n, value in {**held, **own}.items() if value is not None}
    expected = [
        (("t", n), merged[n])
        for n in sorted(merged, reverse=reverse)
        if (after is None or n > after) and (before is None or n < before)
    ][:limit]
    assert [(key, entry.value) for key, entry in found] == expected
    await transaction.commit()
    rows = await store.scan(KV, ("t",))
    assert {key[1]: entry.value for key, entry in rows} == merged


@pytest.mark.parametrize("reverse", [False, True])
async def test_a_scan_that_was_cut_off_watches_no_further_than_it_read(
    store: Store, reverse: bool
) -> None:
    read, unread = (7, 2) if reverse else (2, 7)
    await store.commit([Put(KV, ("t", "n", n), b"") for n in range(10)])
    transaction = Transaction(store, "t")
    transaction.scan(("t", "n"), limit=5, reverse=reverse)
    transaction.put(A, b"")
    await store.commit([Put(KV, ("t", "n", unread, 0), b"")])
    await transaction.commit()
    transaction = Transaction(store, "t")
    transaction.scan(("t", "n"), limit=5, reverse=reverse)
    transaction.put(A, b"")
    await store.commit([Put(KV, ("t", "n", read, 0), b"")])
    with pytest.raises(StateConflict):
        await transaction.commit()


# --- refusals


async def test_keys_of_another_tenant_are_refused(store: Store) -> None:
    transaction = Transaction(store, "t")
    for refused in (
        lambda: transaction.get(("u", "a")),
        lambda: transaction.put(("u", "a"), b""),
        lambda: transaction.delete(("u", "a")),
        lambda: transaction.scan(("u",)),
        lambda: transaction.scan(()),
        lambda: transaction.scan(("t",), partial=True),  # "t2" begins so too
    ):
        with pytest.raises(StateForeign, match="tenant 't'") as caught:
            refused()
        assert caught.value.code == "state.cross_tenant"
    with pytest.raises(ValueError, match="put and delete"):
        await transaction.commit([Put(KV, ("u", "a"), b"")])
    transaction.close()
    assert await store.scan(KV, ()) == []


async def test_too_much_of_everything_is_refused(store: Store) -> None:
    transaction = Transaction(store, "t")
    for n in range(500):
        transaction.put(("t", n), b"")
    transaction.put(("t", 1), b"again")
    with pytest.raises(StateTooLarge, match="501 keys, the limit is 500"):
        transaction.delete(("t", 500))
    transaction = Transaction(store, "t")
    transaction.put(A, bytes(4 << 20))
    transaction.put(A, bytes(1))
    with pytest.raises(StateTooLarge, match="bytes, the limit is 4194304"):
        transaction.put(B, bytes(4 << 20))
    transaction = Transaction(store, "t")
    for n in range(MAX_READS):
        transaction.get(("t", n))
    transaction.get(("t", 0))
    with pytest.raises(StateTooLarge, match=f"reads, the limit is {MAX_READS}"):
        transaction.get(A)


async def test_what_was_refused_is_no_part_of_it(store: Store) -> None:
    transaction = Transaction(store, "t")
    for number in range(MAX_WRITES):
        transaction.put(("t", number), b"1")
    with pytest.raises(StateTooLarge):
        transaction.put(A, b"one too many")
    assert transaction.get(A) is None
    transaction.put(("t", 0), b"2")
    with pytest.raises(StateTooLarge):
        transaction.put(("t", 1), bytes(MAX_WRITE_BYTES))
    transaction.put(("t", 1), b"3")
    await transaction.commit()
    assert len(await store.scan(KV, ("t",))) == MAX_WRITES
    assert await store.get(KV, A) is None


async def test_after_its_end_it_reads_no_more(store: Store) -> None:
    transaction = Transaction(store, "t")
    await transaction.commit()
    with pytest.raises(StateError, match="closed"):
        transaction.get(A)
    transaction.close()


# --- running


async def test_what_lost_is_run_again_until_it_gets_through(store: Store) -> None:
    clock = ManualClock()
    tries = 0

    async def work(transaction: Transaction) -> int:
        nonlocal tries
        tries += 1
        transaction.get(A)
        if tries < 4:
            await store.commit([Put(KV, A, b"%d" % tries)])
        transaction.put(B, b"%d" % tries)
        return tries

    running = asyncio.create_task(run(store, "t", work, clock=clock))
    async with asyncio.timeout(20):
        await clock.sleeper()
        while not running.done():
            await clock.advance(LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(0)
        assert await running == 4
    entry = await store.get(KV, B)
    assert entry is not None
    assert entry.value == b"4"


async def test_after_its_last_attempt_the_conflict_is_raised(store: Store) -> None:
    async def work(transaction: Transaction) -> None:
        transaction.get(A)
        await store.commit([Put(KV, A, b"")])
        transaction.put(B, b"")

    with pytest.raises(StateConflict):
        await run(store, "t", work, clock=ManualClock(), attempts=1)


async def test_what_fails_in_between_writes_nothing(store: Store) -> None:
    async def work(transaction: Transaction) -> None:
        transaction.put(A, b"")
        raise LookupError("of its own")

    with pytest.raises(LookupError):
        await run(store, "t", work, clock=ManualClock())
    assert await store.get(KV, A) is None


def test_pauses_are_spread_from_nothing_to_a_longest_that_grows() -> None:
    for attempt, longest in ((1, 0.0002), (3, 0.0008), (8, 0.02), (20, 0.02)):
        found = [pause(attempt) for _ in range(500)]
        assert 0 <= min(found) <= longest / 4
        assert longest / 2 <= max(found) <= longest
