"""What every store does. One suite, run over each backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmspell.errors import StateConflict, StateError, StateTooLarge
from llmspell.state.memory import MemoryStore
from llmspell.state.rocks import RocksStore
from llmspell.state.store import (
    MAX_KEY_BYTES,
    MAX_VALUE_BYTES,
    Check,
    Delete,
    DeletePrefix,
    Durability,
    Entry,
    Family,
    Key,
    Put,
    Store,
    Write,
)

KV = Family.KV


class Open(Protocol):
    """How a backend is opened."""

    def __call__(self, path: Path) -> Store: ...


_BACKENDS: dict[str, Open] = {"memory": MemoryStore.open, "rocksdb": RocksStore.open}


@pytest.fixture(params=list(_BACKENDS))
def open_store(request: pytest.FixtureRequest) -> Open:
    return _BACKENDS[request.param]


@pytest.fixture
async def store(open_store: Open, tmp_path: Path) -> AsyncIterator[Store]:
    opened = open_store(tmp_path / "db")
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
