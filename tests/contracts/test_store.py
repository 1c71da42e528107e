"""What every store does. One suite, run over each backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmspell.clock import Clock, ManualClock
from llmspell.errors import StateConflict, StateError, StateQuota, StateTooLarge
from llmspell.state.changes import MAX_TOLD, REMEMBERED
from llmspell.state.keys import pack
from llmspell.state.memory import MemoryStore
from llmspell.state.rocks import RocksStore
from llmspell.state.store import (
    MAX_KEY_BYTES,
    MAX_VALUE_BYTES,
    Change,
    Changes,
    Check,
    CheckRange,
    Delete,
    DeletePrefix,
    Durability,
    Entry,
    Family,
    Key,
    Put,
    Quotas,
    Store,
    Usage,
    Write,
)

KV = Family.KV


class Open(Protocol):
    """How a backend is opened."""

    def __call__(
        self, path: Path, *, clock: Clock | None = None, quotas: Quotas | None = None
    ) -> Store: ...


_BACKENDS: dict[str, Open] = {"memory": MemoryStore.open, "rocksdb": RocksStore.open}


@pytest.fixture(params=list(_BACKENDS))
def open_store(request: pytest.FixtureRequest) -> Open:
    return _BACKENDS[request.param]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(open_store: Open, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Store]:
    opened = open_store(tmp_path / "db", clock=clock)
    yield opened
    await opened.close()


async def _put(store: Store, *keys: Key, family: Family = KV) -> int:
    return await store.commit([Put(family, key, repr(key).encode()) for key in keys])


def _keys(rows: Sequence[tuple[Key, Entry]]) -> list[Key]:
    return [key for key, _ in rows]


async def _value(store: Store, key: Key) -> bytes | None:
    entry = await store.get(KV, key)
    return entry.value if entry else None


# --- one key


async def test_what_was_put_is_got_with_the_version_of_its_commit(store: Store) -> None:
    version = await store.commit([Put(KV, ("a",), b"one")])
    assert await store.get(KV, ("a",)) == Entry(b"one", version)


async def test_an_absent_key_is_none(store: Store) -> None:
    assert await store.get(KV, ("a",)) is None


async def test_an_empty_value_is_not_an_absent_one(store: Store) -> None:
    version = await store.commit([Put(KV, ("a",), b"")])
    assert await store.get(KV, ("a",)) == Entry(b"", version)


async def test_families_are_apart(store: Store) -> None:
    await store.commit([Put(KV, ("a",), b"kv"), Put(Family.RUN, ("a",), b"run")])
    await store.commit([Delete(KV, ("a",))])
    assert await store.get(KV, ("a",)) is None
    entry = await store.get(Family.RUN, ("a",))
    assert entry is not None
    assert entry.value == b"run"


async def test_a_deleted_key_is_absent_and_deleting_it_again_is_no_error(store: Store) -> None:
    await _put(store, ("a",))
    await store.commit([Delete(KV, ("a",))])
    await store.commit([Delete(KV, ("a",))])
    assert await store.get(KV, ("a",)) is None


@pytest.mark.parametrize(
    "key",
    [(), ("",), (b"",), (0,), ("a\0b",), (b"\0\xff", -1, "é\U0010ffff"), (-(1 << 63), 1 << 63)],
)
async def test_every_kind_of_key_comes_back_from_get_and_scan(store: Store, key: Key) -> None:
    await _put(store, key)
    assert await _value(store, key) == repr(key).encode()
    assert _keys(await store.scan(KV, key)) == [key]
    assert _keys(await store.scan(KV, ())) == [key]


# --- versions


async def test_versions_grow_with_every_commit_in_whatever_family(store: Store) -> None:
    versions = [await _put(store, ("a",), family=f) for f in (KV, Family.RUN, KV, Family.EVENT)]
    assert versions == sorted(set(versions))
    assert versions[0] > 0


async def test_keys_of_one_commit_share_its_version(store: Store) -> None:
    version = await _put(store, ("a",), ("b",))
    assert {entry.version for _, entry in await store.scan(KV, ())} == {version}


async def test_a_commit_without_writes_returns_the_last_version(store: Store) -> None:
    version = await _put(store, ("a",))
    assert await store.commit([]) == version
    assert await store.commit([], durability=Durability.DURABLE) == version
    assert await store.commit([], checks=[Check(KV, ("a",), version)]) == version


async def test_a_refused_commit_leaves_versions_growing(store: Store) -> None:
    first = await _put(store, ("a",))
    with pytest.raises(StateConflict):
        await store.commit([Put(KV, ("a",), b"")], checks=[Check(KV, ("a",), first + 7)])
    assert await _put(store, ("a",)) > first


# --- scans

_TREE: list[Key] = [
    ("a",),
    ("a", b"bytes"),
    ("a", ""),
    ("a", "\0"),
    ("a", "1"),
    ("a", "1", "x"),
    ("a", "10"),
    ("a", "2"),
    ("a", -256),
    ("a", -1),
    ("a", 0),
    ("a", 9),
    ("a", 10),
    ("a", 256),
    ("a\0",),
    ("a\0", "1"),
    ("ab",),
    ("ab", "1"),
    ("b",),
]
"""In order."""


async def test_a_scan_is_in_key_order_whatever_the_order_of_writing(store: Store) -> None:
    await _put(store, *reversed(_TREE))
    assert _keys(await store.scan(KV, ())) == _TREE
    assert _keys(await store.scan(KV, (), reverse=True)) == _TREE[::-1]


async def test_a_prefix_takes_itself_and_what_extends_it_but_not_longer_parts(store: Store) -> None:
    await _put(store, *_TREE)
    for prefix in (*_TREE, ("c",), ("a", "1", "x", "y")):
        expected = [key for key in _TREE if key[: len(prefix)] == prefix]
        assert _keys(await store.scan(KV, prefix)) == expected
        assert _keys(await store.scan(KV, prefix, reverse=True)) == expected[::-1]


async def test_a_partial_prefix_takes_the_parts_that_begin_so(store: Store) -> None:
    await _put(store, *_TREE)
    for prefix, expected in (
        (("a",), _TREE[:-1]),
        (("a\0",), [("a\0",), ("a\0", "1")]),
        (("a", "1"), [("a", "1"), ("a", "1", "x"), ("a", "10")]),
        (("a", ""), _TREE[2:8]),
        (("a", b"by"), [("a", b"bytes")]),
        (("x",), []),
    ):
        assert _keys(await store.scan(KV, prefix, partial=True)) == expected
        assert _keys(await store.scan(KV, prefix, partial=True, reverse=True)) == expected[::-1]


async def test_bounds_are_exclusive_and_name_the_same_ends_in_both_directions(store: Store) -> None:
    await _put(store, *[(n,) for n in range(10)])
    inside: list[Key] = [(4,), (5,), (6,)]
    assert _keys(await store.scan(KV, (), after=(3,), before=(7,))) == inside
    assert _keys(await store.scan(KV, (), after=(3,), before=(7,), reverse=True)) == inside[::-1]
    assert _keys(await store.scan(KV, (), after=(7,))) == [(8,), (9,)]
    assert _keys(await store.scan(KV, (), before=(2,))) == [(0,), (1,)]
    assert _keys(await store.scan(KV, (), after=(6,), before=(3,))) == []
    assert _keys(await store.scan(KV, (), after=(3,), before=(4,))) == []
    assert _keys(await store.scan(KV, (), after=(6,), before=(3,), reverse=True)) == []


async def test_bounds_need_not_exist_nor_lie_under_the_prefix(store: Store) -> None:
    await _put(store, ("a", 1), ("a", 3), ("b", 1))
    assert _keys(await store.scan(KV, ("a",), after=("a", 2))) == [("a", 3)]
    assert _keys(await store.scan(KV, ("a",), before=("a", 2), reverse=True)) == [("a", 1)]
    assert _keys(await store.scan(KV, ("a",), after=("",), before=("z",))) == [("a", 1), ("a", 3)]
    assert _keys(await store.scan(KV, ("a",), after=("b",))) == []
    assert _keys(await store.scan(KV, ("b",), before=("a", 9), reverse=True)) == []


async def test_after_a_key_comes_what_extends_it(store: Store) -> None:
    await _put(store, ("a",), ("a", 1), ("b",))
    assert _keys(await store.scan(KV, (), after=("a",))) == [("a", 1), ("b",)]


async def test_the_limit_takes_the_first_in_the_scans_direction(store: Store) -> None:
    await _put(store, *[("n", n) for n in range(5)])
    assert _keys(await store.scan(KV, ("n",), limit=2)) == [("n", 0), ("n", 1)]
    assert _keys(await store.scan(KV, ("n",), limit=2, reverse=True)) == [("n", 4), ("n", 3)]
    assert len(await store.scan(KV, ("n",), limit=9)) == 5
    assert await store.scan(KV, ("n",), limit=0) == []


async def test_a_scan_takes_a_thousand_entries_unless_told(store: Store) -> None:
    await _put(store, *[(n,) for n in range(1001)])
    assert _keys(await store.scan(KV, ())) == [(n,) for n in range(1000)]


@pytest.mark.parametrize("reverse", [False, True])
async def test_pages_put_together_are_the_whole(store: Store, reverse: bool) -> None:
    await _put(store, *_TREE)
    pages: list[Key] = []
    edge: Key | None = None
    while page := _keys(
        await store.scan(
            KV,
            (),
            after=None if reverse else edge,
            before=edge if reverse else None,
            limit=4,
            reverse=reverse,
        )
    ):
        pages += page
        edge = page[-1]
    assert pages == (_TREE[::-1] if reverse else _TREE)


async def test_a_scan_is_one_consistent_view_while_others_write(store: Store) -> None:
    """Every commit rewrites all rows, so a view of two commits would mix versions."""
    keys: list[Key] = [("row", n) for n in range(50)]
    await _put(store, *keys)

    async def write() -> None:
        for _ in range(20):
            await _put(store, *keys)
            await asyncio.sleep(0)

    async def read() -> None:
        for _ in range(20):
            rows = await store.scan(KV, ("row",))
            assert len(rows) == 50
            assert len({entry.version for _, entry in rows}) == 1
            await asyncio.sleep(0)

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(write())
        for _ in range(3):
            group.create_task(read())


async def test_what_a_scan_returned_stays_as_it_was(store: Store) -> None:
    await _put(store, ("a",), ("b",))
    rows = list(await store.scan(KV, ()))
    before = list(rows)
    await store.commit([DeletePrefix(KV, ())])
    assert rows == before


# --- commits


async def test_writes_of_a_commit_apply_in_order(store: Store) -> None:
    await _put(store, ("n", 1), ("n", 2))
    await store.commit(
        [
            Put(KV, ("n", 3), b"gone"),
            DeletePrefix(KV, ("n",)),
            Put(KV, ("n", 2), b"first"),
            Put(KV, ("n", 2), b"last"),
            Put(KV, ("n", 4), b"gone"),
            Delete(KV, ("n", 4)),
        ]
    )
    rows = await store.scan(KV, ("n",))
    assert [(key, entry.value) for key, entry in rows] == [(("n", 2), b"last")]


async def test_delete_prefix_takes_the_prefix_and_what_extends_it_and_nothing_beside(
    store: Store,
) -> None:
    await _put(store, *_TREE)
    await _put(store, ("a", "1"), family=Family.RUN)
    await store.commit([DeletePrefix(KV, ("a", "1"))])
    assert _keys(await store.scan(KV, ())) == [k for k in _TREE if k[:2] != ("a", "1")]
    await store.commit([DeletePrefix(KV, ("a",))])
    assert _keys(await store.scan(KV, ())) == [k for k in _TREE if k[0] != "a"]
    await store.commit([DeletePrefix(KV, ("nothing",)), DeletePrefix(KV, ())])
    assert await store.scan(KV, ()) == []
    assert _keys(await store.scan(Family.RUN, ())) == [("a", "1")]


async def test_a_key_written_after_its_prefix_was_deleted_is_there(store: Store) -> None:
    await _put(store, ("a", 1))
    await store.commit([DeletePrefix(KV, ("a",))])
    version = await _put(store, ("a", 1))
    assert [entry.version for _, entry in await store.scan(KV, ("a",))] == [version]


async def test_a_commit_whose_check_fails_writes_nothing_of_itself(store: Store) -> None:
    version = await _put(store, ("a",), ("b",))
    before = list(await store.scan(KV, ()))
    with pytest.raises(StateConflict, match="kv key") as caught:
        await store.commit(
            [Put(KV, ("a",), b"new"), Put(KV, ("c",), b"new"), DeletePrefix(KV, ("b",))],
            checks=[Check(KV, ("a",), version), Check(KV, ("b",), version + 1)],
        )
    assert caught.value.data == {"expected": version + 1, "found": version}
    assert await store.scan(KV, ()) == before


async def test_a_check_of_an_absent_key_holds_only_while_it_is_absent(store: Store) -> None:
    absent = Check(KV, ("a",), 0)
    await store.commit([Put(KV, ("a",), b"first")], checks=[absent])
    with pytest.raises(StateConflict):
        await store.commit([Put(KV, ("a",), b"second")], checks=[absent])
    await store.commit([Delete(KV, ("a",))])
    await store.commit([Put(KV, ("a",), b"third")], checks=[absent])
    assert await _value(store, ("a",)) == b"third"


async def test_a_check_of_a_version_fails_once_the_key_is_gone_or_written_again(
    store: Store,
) -> None:
    version = await _put(store, ("a",))
    await _put(store, ("a",))  # the same bytes, another version
    with pytest.raises(StateConflict):
        await store.commit([], checks=[Check(KV, ("a",), version)])
    await store.commit([Delete(KV, ("a",))])
    with pytest.raises(StateConflict):
        await store.commit([], checks=[Check(KV, ("a",), version)])


async def test_a_check_may_be_of_another_family_and_of_a_key_that_is_only_read(
    store: Store,
) -> None:
    lease = await _put(store, ("lease",), family=Family.RUN)
    await store.commit([Put(KV, ("a",), b"1")], checks=[Check(Family.RUN, ("lease",), lease)])
    await _put(store, ("lease",), family=Family.RUN)
    with pytest.raises(StateConflict):
        await store.commit([Put(KV, ("a",), b"2")], checks=[Check(Family.RUN, ("lease",), lease)])
    assert await _value(store, ("a",)) == b"1"


async def test_checks_see_the_state_before_the_commits_own_writes(store: Store) -> None:
    await store.commit([Put(KV, ("a",), b"1")], checks=[Check(KV, ("a",), 0)])
    version = await store.commit([])
    await store.commit([Put(KV, ("a",), b"2")], checks=[Check(KV, ("a",), version)])
    assert await _value(store, ("a",)) == b"2"


@pytest.mark.parametrize("durability", list(Durability))
async def test_of_interleaved_writers_of_one_version_exactly_one_wins(
    store: Store, durability: Durability
) -> None:
    version = await _put(store, ("a",))
    ready = asyncio.Barrier(20)

    async def write(number: int) -> bool:
        entry = await store.get(KV, ("a",))
        assert entry is not None
        await ready.wait()  # everyone has read the same version
        try:
            await store.commit(
                [Put(KV, ("a",), b"%d" % number)],
                checks=[Check(KV, ("a",), entry.version)],
                durability=durability,
            )
        except StateConflict:
            return False
        return True

    async with asyncio.timeout(20):
        won = await asyncio.gather(*(write(number) for number in range(20)))
    assert sum(won) == 1
    entry = await store.get(KV, ("a",))
    assert entry is not None
    assert entry.version > version
    assert entry.value == b"%d" % won.index(True)


async def test_transfers_with_checks_keep_the_total(store: Store) -> None:
    accounts: list[Key] = [("account", n) for n in range(4)]
    await store.commit([Put(KV, key, b"100") for key in accounts])

    async def transfer(source: Key, target: Key, turns: int) -> None:
        for _ in range(turns):
            while True:
                one, other = await store.get(KV, source), await store.get(KV, target)
                assert one is not None
                assert other is not None
                await asyncio.sleep(0)  # others get in between reading and writing
                try:
                    await store.commit(
                        [
                            Put(KV, source, b"%d" % (int(one.value) - 1)),
                            Put(KV, target, b"%d" % (int(other.value) + 1)),
                        ],
                        checks=[Check(KV, source, one.version), Check(KV, target, other.version)],
                    )
                except StateConflict:
                    continue
                break

    pairs = [(a, b) for a in accounts for b in accounts if a != b]
    async with asyncio.timeout(20):
        await asyncio.gather(*(transfer(a, b, 5) for a, b in pairs))
    rows = await store.scan(KV, ("account",))
    assert [int(entry.value) for _, entry in rows] == [100] * 4


# --- durability, limits, closing


@pytest.mark.parametrize("durability", list(Durability))
async def test_a_commit_of_every_level_is_visible_when_it_is_acknowledged(
    store: Store, durability: Durability
) -> None:
    version = await store.commit([Put(KV, ("a",), b"1")], durability=durability)
    assert await store.get(KV, ("a",)) == Entry(b"1", version)


async def test_a_durable_commit_is_visible_to_others_before_it_is_acknowledged(
    store: Store,
) -> None:
    """Its place among the commits is fixed at once; only the answer waits for the disk."""
    commit = asyncio.create_task(
        store.commit([Put(KV, ("a",), b"1")], durability=Durability.DURABLE)
    )
    await asyncio.sleep(0)
    assert await _value(store, ("a",)) == b"1"
    async with asyncio.timeout(20):
        await commit


async def test_a_waiter_that_is_cancelled_does_not_disturb_the_others(store: Store) -> None:
    commits = [
        asyncio.create_task(store.commit([Put(KV, (n,), b"")], durability=Durability.DURABLE))
        for n in range(10)
    ]
    await asyncio.sleep(0)
    commits[0].cancel()
    async with asyncio.timeout(20):
        results = await asyncio.gather(*commits, return_exceptions=True)
    assert all(isinstance(result, int) for result in results[1:])


async def test_the_largest_key_and_value_are_kept(store: Store) -> None:
    key = ("k" * (MAX_KEY_BYTES - 2),)  # a kind byte before the text, a zero after it
    await store.commit([Put(KV, key, b"v" * MAX_VALUE_BYTES)])
    assert await _value(store, key) == b"v" * MAX_VALUE_BYTES


@pytest.mark.parametrize(
    ("write", "what"),
    [
        (Put(KV, ("k" * (MAX_KEY_BYTES - 1),), b""), f"key has {MAX_KEY_BYTES + 1} bytes"),
        (Delete(KV, ("\0" * MAX_KEY_BYTES,)), f"limit is {MAX_KEY_BYTES}"),
        (Put(KV, ("k",), bytes(MAX_VALUE_BYTES + 1)), f"value has {MAX_VALUE_BYTES + 1} bytes"),
    ],
)
async def test_a_commit_over_a_limit_writes_nothing(store: Store, write: Write, what: str) -> None:
    with pytest.raises(StateTooLarge, match=what):
        await store.commit([Put(KV, ("a",), b"1"), write])
    assert await store.scan(KV, ()) == []


async def test_closing_twice_is_no_error_and_a_closed_store_says_so(
    open_store: Open, tmp_path: Path
) -> None:
    store = open_store(tmp_path / "db")
    await _put(store, ("a",))
    await asyncio.gather(store.close(), store.close())
    await store.close()
    with pytest.raises(StateError, match="closed"):
        await store.get(KV, ("a",))
    with pytest.raises(StateError, match="closed"):
        await store.scan(KV, ())
    with pytest.raises(StateError, match="closed"):
        await store.commit([Put(KV, ("a",), b"")])


async def test_closing_acknowledges_the_durable_commits_under_way(
    open_store: Open, tmp_path: Path
) -> None:
    store = open_store(tmp_path / "db")
    commits = [
        asyncio.create_task(store.commit([Put(KV, (n,), b"")], durability=Durability.DURABLE))
        for n in range(10)
    ]
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await store.close()
        assert len(set(await asyncio.gather(*commits))) == 10


# --- expiry


async def test_a_key_is_there_until_the_moment_it_expires(store: Store, clock: ManualClock) -> None:
    ends = clock.time() + 10.25
    version = await store.commit([Put(KV, ("a",), b"1", ends), Put(KV, ("b",), b"2")])
    assert await store.get(KV, ("a",)) == Entry(b"1", version, ends)
    await clock.advance(10)
    assert await store.get(KV, ("a",)) == Entry(b"1", version, ends)
    view = store.view()
    await clock.advance(0.25)
    assert await store.get(KV, ("a",)) is None
    assert _keys(await store.scan(KV, ())) == [("b",)]
    assert _keys(await store.scan(KV, (), limit=1)) == [("b",)]
    assert _keys(await store.scan(KV, (), reverse=True)) == [("b",)]
    assert view.get(KV, ("a",)) == Entry(b"1", version, ends)  # a view stays in its moment
    assert _keys(view.scan(KV, ())) == [("a",), ("b",)]
    view.close()
    view = store.view()
    assert view.get(KV, ("a",)) is None
    assert _keys(view.scan(KV, ())) == [("b",)]
    view.close()


async def test_an_expired_key_counts_as_absent_in_checks(store: Store, clock: ManualClock) -> None:
    version = await store.commit([Put(KV, ("a",), b"1", clock.time() + 1)])
    seen = CheckRange(KV, (), None, None, False, ((("a",), version),))
    assert await store.commit([], checks=[Check(KV, ("a",), version), seen]) == version
    await clock.advance(1)
    for stale in (Check(KV, ("a",), version), seen):
        with pytest.raises(StateConflict):
            await store.commit([], checks=[stale])
    await store.commit([Put(KV, ("a",), b"2")], checks=[Check(KV, ("a",), 0)])
    assert await _value(store, ("a",)) == b"2"


async def test_writing_a_key_again_says_anew_whether_it_expires(
    store: Store, clock: ManualClock
) -> None:
    soon, later = clock.time() + 1, clock.time() + 9
    await store.commit([Put(KV, (n,), b"", soon) for n in range(4)])
    await store.commit([Put(KV, (0,), b""), Put(KV, (1,), b"", later), Delete(KV, (2,))])
    await store.commit([Put(KV, (4,), b"", soon), Put(KV, (4,), b"")])
    assert len(await store.scan(Family.TTL, ())) == 2
    await clock.advance(1)
    assert _keys(await store.scan(KV, ())) == [(0,), (1,), (4,)]
    assert await store.sweep() == 1
    await clock.advance(8)
    assert await store.sweep() == 1
    assert _keys(await store.scan(KV, ())) == [(0,), (4,)]
    assert await store.scan(Family.TTL, ()) == []


@pytest.mark.parametrize("family", [KV, Family.DEDUP])
async def test_a_sweep_deletes_what_has_expired_and_nothing_else(
    store: Store, clock: ManualClock, family: Family
) -> None:
    start = clock.time()
    await store.commit([Put(family, (n,), b"", start + n) for n in range(1, 8)])
    await store.commit([Put(family, ("stays",), b"")])
    await clock.advance(5)
    last = await store.commit([])
    assert [await store.sweep(limit=2) for _ in range(4)] == [2, 2, 1, 0]
    assert await store.commit([]) == last + 3
    assert _keys(await store.scan(family, ())) == [("stays",), (6,), (7,)]
    await store.commit([DeletePrefix(family, ()), Put(family, (6,), b"again")])
    await clock.advance(5)
    await store.sweep()
    assert _keys(await store.scan(family, ())) == [(6,)]
    assert await store.scan(Family.TTL, ()) == []


async def test_a_clock_that_moves_by_days_expires_what_was_due_meanwhile(
    store: Store, clock: ManualClock
) -> None:
    start = clock.time()
    await store.commit([Put(KV, ("h", n), b"", start + 3600 * n) for n in range(1, 97)])
    await clock.advance(3 * 86400)
    assert len(await store.scan(KV, ("h",))) == 24
    assert await store.sweep() == 72
    assert await store.usage(()) == Usage(24 * (len(pack(("h", 96)))), 24)


# --- checks of ranges


def _range(prefix: Key, rows: Sequence[tuple[Key, Entry]], **bounds: Key) -> CheckRange:
    seen = tuple((key, entry.version) for key, entry in rows)
    return CheckRange(KV, prefix, bounds.get("after"), bounds.get("before"), False, seen)


async def test_a_range_holds_while_its_scan_finds_the_same(store: Store) -> None:
    await _put(store, ("n", 1), ("n", 3), ("n", 5), ("m",))
    check = _range(("n",), await store.scan(KV, ("n",)))
    await _put(store, ("m",), ("o",))
    await store.commit([Delete(KV, ("n", 2))], checks=[check])
    empty = CheckRange(KV, ("x",), None, None, False, ())
    await store.commit([Put(KV, ("x", 1), b"")], checks=[check, empty])
    with pytest.raises(StateConflict, match="under"):
        await store.commit([], checks=[empty])


@pytest.mark.parametrize(
    "write",
    [
        Put(KV, ("n", 2), b"phantom"),
        Put(KV, ("n", 9), b"phantom"),
        Put(KV, ("n", 3), repr(("n", 3)).encode()),
        Delete(KV, ("n", 5)),
        DeletePrefix(KV, ("n",)),
    ],
)
async def test_a_range_fails_once_a_key_of_it_came_went_or_was_written(
    store: Store, write: Write
) -> None:
    await _put(store, ("n", 1), ("n", 3), ("n", 5))
    check = _range(("n",), await store.scan(KV, ("n",)))
    await store.commit([write])
    with pytest.raises(StateConflict):
        await store.commit([Put(KV, ("a",), b"")], checks=[check])
    assert await store.get(KV, ("a",)) is None


async def test_a_range_is_no_wider_than_its_bounds(store: Store) -> None:
    await _put(store, *[("n", n) for n in range(1, 6)])
    after: Key = ("n", 1)
    before: Key = ("n", 5)
    rows = await store.scan(KV, ("n",), after=after, before=before)
    check = _range(("n",), rows, after=after, before=before)
    await _put(store, ("n", 0), ("n", 1), ("n", 5), ("n", 6))
    await store.commit([], checks=[check])
    partial = CheckRange(KV, ("n", "a"), None, None, True, ())
    await _put(store, ("n", "b"))
    await store.commit([Put(KV, ("n", "ab"), b"")], checks=[check, partial])
    with pytest.raises(StateConflict):
        await store.commit([], checks=[partial])


# --- views


async def test_a_view_shows_every_family_as_it_was(store: Store) -> None:
    version = await _put(store, ("a",), ("b",), ("n", 1), ("n", 2))
    await _put(store, ("r",), family=Family.RUN)
    view = store.view()
    assert view.version == version + 1
    await store.commit(
        [
            Put(KV, ("a",), b"new"),
            Delete(KV, ("b",)),
            DeletePrefix(KV, ("n",)),
            Put(KV, ("n", 3), b"new"),
            Put(Family.RUN, ("r",), b"new"),
            DeletePrefix(Family.EVENT, ()),
        ]
    )
    await _put(store, ("e",), family=Family.EVENT)
    assert view.get(KV, ("a",)) == Entry(repr(("a",)).encode(), version)
    assert view.get(KV, ("n", 3)) is None
    assert _keys(view.scan(KV, ())) == [("a",), ("b",), ("n", 1), ("n", 2)]
    assert _keys(view.scan(KV, (), reverse=True, limit=2)) == [("n", 2), ("n", 1)]
    assert _keys(view.scan(KV, ("n",), after=("n", 1))) == [("n", 2)]
    assert _keys(view.scan(KV, ("",), partial=True, before=("b",))) == [("a",)]
    entry = view.get(Family.RUN, ("r",))
    assert entry is not None
    assert entry.version == version + 1
    assert view.scan(Family.EVENT, ()) == []
    assert _keys(await store.scan(KV, ())) == [("a",), ("n", 3)]
    view.close()
    view.close()
    with pytest.raises(StateError, match="closed"):
        view.get(KV, ("a",))


async def test_a_store_closes_with_views_open(open_store: Open, tmp_path: Path) -> None:
    store = open_store(tmp_path / "db")
    await _put(store, ("a",))
    view = store.view()
    assert view.get(KV, ("a",)) is not None
    await store.close()
    with pytest.raises(StateError, match="closed"):
        view.get(KV, ("a",))
    with pytest.raises(StateError, match="closed"):
        store.view()
    await open_store(tmp_path / "db").close()


# --- changes


async def test_a_watcher_is_told_of_the_next_change_under_its_prefix(store: Store) -> None:
    await _put(store, ("n", 1))
    waiting = asyncio.create_task(store.changes(KV, ("n",)))
    await asyncio.sleep(0)
    await _put(store, ("m",), ("o", 1))
    await _put(store, ("n", 1), family=Family.RUN)
    assert not waiting.done()
    version = await store.commit([Put(KV, ("n", 2), b"2")])
    async with asyncio.timeout(20):
        found = await waiting
    assert found == Changes([Change(("n", 2), Entry(b"2", version), version)], version)


async def test_changes_since_a_version_are_the_newest_of_each_key_in_order(store: Store) -> None:
    since = await _put(store, ("n", 1), ("n", 2))
    await store.commit([Put(KV, ("n", 1), b"old")])
    second = await store.commit([Delete(KV, ("n", 2)), Put(KV, ("x",), b"")])
    third = await store.commit([Put(KV, ("n", 1), b"new")])
    found = await store.changes(KV, ("n",), since=since)
    assert found == Changes(
        [Change(("n", 2), None, second), Change(("n", 1), Entry(b"new", third), third)], third
    )
    waiting = asyncio.create_task(store.changes(KV, ("n",), since=found.version))
    await asyncio.sleep(0)
    assert not waiting.done()
    fourth = await store.commit([DeletePrefix(KV, ("n",))])
    async with asyncio.timeout(20):
        assert await waiting == Changes([Change(("n", 1), None, fourth)], fourth)


async def test_a_partial_prefix_is_watched_too(store: Store) -> None:
    waiting = asyncio.create_task(store.changes(KV, ("k", "item/"), partial=True))
    await asyncio.sleep(0)
    await _put(store, ("k", "items"), ("k",))
    await asyncio.sleep(0)
    assert not waiting.done()
    await _put(store, ("k", "item/1"))
    async with asyncio.timeout(20):
        assert [change.key for change in (await waiting).changes] == [("k", "item/1")]


async def test_an_expiry_is_told_when_it_is_swept(store: Store, clock: ManualClock) -> None:
    since = await store.commit([Put(KV, ("a",), b"", clock.time() + 1)])
    waiting = asyncio.create_task(store.changes(KV, (), since=since))
    await clock.advance(1)
    assert not waiting.done()
    assert await store.sweep() == 1
    async with asyncio.timeout(20):
        assert await waiting == Changes([Change(("a",), None, since + 1)], since + 1)


async def test_what_is_too_long_ago_or_of_another_store_comes_back_as_resync(store: Store) -> None:
    since = await _put(store, ("a",))
    for first in range(0, REMEMBERED, 5000):
        await store.commit([Put(KV, ("n", n), b"") for n in range(first, first + 5000)])
    last = await _put(store, ("b",))
    for version in (0, since, last + 1):
        assert await store.changes(KV, ("a",), since=version) == Changes((), last, resync=True)
    assert (await store.changes(KV, ("b",), since=last - 1)).changes != ()


async def test_a_long_wait_misses_nothing_however_much_else_changes(store: Store) -> None:
    since = await _put(store, ("a",))
    waiting = asyncio.create_task(store.changes(KV, ("a",), since=since))
    await asyncio.sleep(0)
    for first in range(0, REMEMBERED, 5000):
        await store.commit([Put(KV, ("n", n), b"") for n in range(first, first + 5000)])
    version = await _put(store, ("n",), ("a",))
    async with asyncio.timeout(20):
        found = await waiting
    assert ([change.key for change in found.changes], found.version) == ([("a",)], version)
    assert not found.resync


async def test_changes_that_are_too_many_for_once_come_in_turn(store: Store) -> None:
    since = await _put(store, ("first",))
    for n in range(0, MAX_TOLD + 50, 2):
        await _put(store, ("n", n), ("n", n + 1))
    told: list[Key] = []
    rounds = 0
    while len(told) < MAX_TOLD + 50:
        found = await store.changes(KV, ("n",), since=since)
        assert 0 < len(found.changes) <= MAX_TOLD + 1
        told += [change.key for change in found.changes]
        since, rounds = found.version, rounds + 1
    assert told == [("n", n) for n in range(MAX_TOLD + 50)]
    assert rounds == 2


async def test_a_family_is_remembered_from_the_first_time_it_is_watched(store: Store) -> None:
    since = await _put(store, ("r", 1), family=Family.RUN)
    await _put(store, ("r", 2), family=Family.RUN)
    found = await store.changes(Family.RUN, ("r",), since=since)
    assert (found.changes, found.resync) == ((), True)
    await store.commit([DeletePrefix(Family.RUN, ("r",))])
    found = await store.changes(Family.RUN, ("r",), since=found.version)
    assert sorted(change.key for change in found.changes) == [("r", 1), ("r", 2)]


async def test_watchers_end_with_the_store_and_one_that_leaves_disturbs_nobody(
    open_store: Open, tmp_path: Path
) -> None:
    store = open_store(tmp_path / "db")
    waiting = [asyncio.create_task(store.changes(KV, ())) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await _put(store, ("a",))
    async with asyncio.timeout(20):
        await asyncio.wait(waiting)
        assert waiting[0].cancelled()
        assert [change.key for change in (await waiting[1]).changes] == [("a",)]
        late = asyncio.create_task(store.changes(KV, ()))
        await asyncio.sleep(0)
        await store.close()
        with pytest.raises(StateError, match="closed"):
            await late
        with pytest.raises(StateError, match="closed"):
            await store.changes(KV, ())


# --- usage and quotas


def _size(*rows: tuple[Key, bytes]) -> Usage:
    return Usage(sum(len(pack(key)) + len(value) for key, value in rows), len(rows))


async def test_usage_counts_keys_and_values_by_tenant_and_scope(store: Store) -> None:
    one, two, three = ("t", "a", "k"), ("t", "b", "k"), ("u", "a", "k")
    await store.commit([Put(KV, one, b"123"), Put(KV, two, b""), Put(KV, three, b"1")])
    await store.commit([Put(Family.RUN, ("t", "a"), bytes(99))])
    assert await store.usage(("t", "a")) == _size((one, b"123"))
    assert await store.usage(("t",)) == _size((one, b"123"), (two, b""))
    assert await store.usage(()) == _size((one, b"123"), (two, b""), (three, b"1"))
    await store.commit([Put(KV, one, b"1"), Put(KV, one, b"12345"), Delete(KV, two)])
    assert await store.usage(("t",)) == _size((one, b"12345"))
    await store.commit([Delete(KV, two), DeletePrefix(KV, ("t", "a"))])
    assert await store.usage(("t",)) == Usage(0, 0)
    assert await store.usage(("nobody",)) == Usage(0, 0)
    with pytest.raises(ValueError, match="by tenant and scope"):
        await store.usage(one)


async def test_a_commit_that_fails_counts_nothing(store: Store) -> None:
    await _put(store, ("t", "a", 1))
    before = await store.usage(())
    with pytest.raises(StateConflict):
        await store.commit([Put(KV, ("t", "a", 2), b"")], checks=[Check(KV, ("x",), 7)])
    with pytest.raises(StateTooLarge):
        await store.commit(
            [Put(KV, ("t", "a", 2), b""), Put(KV, ("t",), bytes(MAX_VALUE_BYTES + 1))]
        )
    assert await store.usage(()) == before


_LIMITS = [
    (Quotas(tenant_keys=2), "state.quota_keys", 2),
    (Quotas(scope_keys=2), "state.scope_quota_keys", 2),
    (Quotas(tenant_bytes=30), "state.quota_bytes", 30),
    (Quotas(scope_bytes=30), "state.scope_quota_bytes", 30),
]


@pytest.mark.parametrize(("quotas", "name", "allowed"), _LIMITS)
async def test_a_quota_refuses_what_grows_and_nothing_else(
    open_store: Open, tmp_path: Path, quotas: Quotas, name: str, allowed: int
) -> None:
    store = open_store(tmp_path / "db", quotas=quotas)
    full = [Put(KV, ("t", "a", n), bytes(7)) for n in range(2)]
    await store.commit(full)
    await store.commit([Put(KV, ("u", "a", 1), bytes(7))])  # another tenant
    with pytest.raises(StateQuota, match=f"the limit is {allowed}") as caught:
        await store.commit([Put(KV, ("t", "a", 2), bytes(7)), Put(Family.RUN, ("r",), b"")])
    assert caught.value.data["limit"] == name
    assert caught.value.code == "state.quota_exceeded"
    assert await store.get(Family.RUN, ("r",)) is None
    await store.commit(full)  # as large as before
    await store.commit([Put(Family.RUN, ("t", "a"), bytes(99))])  # counts for nothing
    await store.commit([Delete(KV, ("t", "a", 1)), Put(KV, ("t", "a", 2), bytes(7))])
    if name.startswith("state.scope"):
        await store.commit([Put(KV, ("t", "b", 1), bytes(7))])
    await store.close()


async def test_deleting_goes_through_where_a_lowered_quota_is_exceeded(tmp_path: Path) -> None:
    store = RocksStore.open(tmp_path / "db")
    await _put(store, *[("t", "a", n) for n in range(9)])
    await store.close()
    store = RocksStore.open(tmp_path / "db", quotas=Quotas(tenant_keys=3, scope_bytes=10))
    for n in range(8):
        await store.commit([Delete(KV, ("t", "a", n)), Put(KV, ("t", "a", 8), b"")])
    with pytest.raises(StateQuota):
        await store.commit([Put(KV, ("t", "a", 8), bytes(20))])
    await store.close()


async def test_what_has_expired_is_no_hindrance(
    open_store: Open, tmp_path: Path, clock: ManualClock
) -> None:
    store = open_store(tmp_path / "db", clock=clock, quotas=Quotas(tenant_keys=2))
    await store.commit([Put(KV, ("t", n), b"", clock.time() + 1) for n in range(2)])
    with pytest.raises(StateQuota):
        await _put(store, ("t", 2))
    await clock.advance(1)
    await _put(store, ("t", 2))
    assert (await store.usage(("t",))).keys == 1
    await store.close()


# --- against a model

_parts = st.sampled_from(["", "a", "a\0", "ab", "b", b"a", b"\xff", -1, 0, 1, 256])
_some_keys = st.lists(_parts, max_size=3).map(tuple)
_writes: st.SearchStrategy[Write] = st.one_of(
    st.builds(Put, st.just(KV), _some_keys, st.binary(max_size=3)),
    st.builds(Delete, st.just(KV), _some_keys),
    st.builds(DeletePrefix, st.just(KV), _some_keys),
)
_optional = st.none() | _some_keys


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(st.lists(_writes, min_size=1, max_size=5), max_size=6),
    prefix=_some_keys,
    after=_optional,
    before=_optional,
    limit=st.integers(0, 5),
    reverse=st.booleans(),
)
async def test_any_history_reads_as_it_does_from_a_dict(
    store: Store,
    batches: list[list[Write]],
    prefix: Key,
    after: Key | None,
    before: Key | None,
    limit: int,
    reverse: bool,
) -> None:
    await store.commit([DeletePrefix(KV, ())])  # one store serves every example
    model: dict[Key, Entry] = {}
    for batch in batches:
        version = await store.commit(batch)
        for write in batch:
            match write:
                case Put(_, key, value):
                    model[key] = Entry(value, version)
                case Delete(_, key):
                    model.pop(key, None)
                case DeletePrefix(_, gone):
                    model = {k: e for k, e in model.items() if k[: len(gone)] != gone}
    expected = sorted(
        (
            (key, entry)
            for key, entry in model.items()
            if key[: len(prefix)] == prefix
            and (after is None or _order(after) < _order(key))
            and (before is None or _order(key) < _order(before))
        ),
        key=lambda row: _order(row[0]),
        reverse=reverse,
    )[:limit]
    rows = await store.scan(KV, prefix, after=after, before=before, limit=limit, reverse=reverse)
    assert list(rows) == expected
    for key in {write.key for batch in batches for write in batch if isinstance(write, Put)}:
        assert await store.get(KV, key) == model.get(key)


def _order(key: Key) -> list[tuple[int, str | int | bytes]]:
    return [((bytes, str, int).index(type(part)), part) for part in key]


_expiring_writes: st.SearchStrategy[Write] = st.one_of(
    st.builds(
        Put,
        st.just(KV),
        _some_keys,
        st.binary(max_size=3),
        st.none() | st.sampled_from([0.5, 1.5, 2.5, 3.5]),
    ),
    st.builds(Delete, st.just(KV), _some_keys),
    st.builds(DeletePrefix, st.just(KV), _some_keys),
)
_step = st.lists(_expiring_writes, min_size=1, max_size=4) | st.sampled_from(["tick", "sweep"])


class _Model:
    """A dict that keeps count, as a store should."""

    def __init__(self) -> None:
        self.held: dict[Key, Entry] = {}
        self.changed: dict[Key, int] = {}

    def apply(self, batch: Sequence[Write], version: int) -> None:
        for write in batch:
            match write:
                case Put(_, key, value, ends):
                    self.held[key] = Entry(value, version, ends)
                    self.changed[key] = version
                case Delete(_, key):
                    self.held.pop(key, None)
                    self.changed[key] = version
                case DeletePrefix(_, gone):
                    for key in [key for key in self.held if key[: len(gone)] == gone]:
                        del self.held[key]
                        self.changed[key] = version

    def live(self, now: float) -> dict[Key, Entry]:
        return {
            key: entry
            for key, entry in self.held.items()
            if entry.expires_at is None or now < entry.expires_at
        }

    def usage(self, prefix: Key) -> Usage:
        rows = [
            (key, entry.value)
            for key, entry in self.held.items()
            if key[:2][: len(prefix)] == prefix
        ]
        return _size(*rows)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_step, max_size=8), watched=_some_keys, counted=_some_keys)
async def test_expiry_usage_and_changes_are_those_of_a_dict_that_keeps_count(
    store: Store,
    clock: ManualClock,
    steps: list[list[Write] | str],
    watched: Key,
    counted: Key,
) -> None:
    since = await store.commit([DeletePrefix(KV, ())])  # one store serves every example
    start = clock.time()
    model = _Model()
    for step in steps:
        now = clock.time()
        if step == "tick":
            await clock.advance(1)
        elif step == "sweep":
            gone = model.held.keys() - model.live(now).keys()
            assert await store.sweep() == len(gone)
            model.apply([Delete(KV, key) for key in gone], await store.commit([]))
        else:
            batch = [
                Put(KV, write.key, write.value, write.expires_at and start + write.expires_at)
                if isinstance(write, Put)
                else write
                for write in step
                if not isinstance(write, str)
            ]
            model.apply(batch, await store.commit(batch))
    live = model.live(clock.time())
    assert dict(await store.scan(KV, ())) == live
    assert {key: await store.get(KV, key) for key in model.held} == {
        key: live.get(key) for key in model.held
    }
    assert await store.usage(counted[:2]) == model.usage(counted[:2])
    assert len(await store.scan(Family.TTL, ())) == sum(
        entry.expires_at is not None for entry in model.held.values()
    )
    expected = {
        key: (live.get(key), version)
        for key, version in model.changed.items()
        if key[: len(watched)] == watched
    }
    if expected:
        found = await store.changes(KV, watched, since=since)
        told = [(change.key, change.entry, change.version) for change in found.changes]
        assert {key: (entry, version) for key, entry, version in told} == expected
        assert [version for _, _, version in told] == sorted(v for _, v in expected.values())
