"""State as spells see it: whose key is whose, races, limits, and the shape of results."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmspell.clock import ManualClock
from llmspell.effects.effect import StateScope, StateWrite
from llmspell.errors import StateConflict, StateCorrupt, StateError, StateTooLarge
from llmspell.security.principals import Caller
from llmspell.state.memory import MemoryStore
from llmspell.state.rocks import RocksStore
from llmspell.state.scope_values import shown
from llmspell.state.scopes import MAX_KEY_BYTES, MAX_SCAN, MAX_VALUE_BYTES, Scopes
from llmspell.state.store import Entry, Family, Key, Put, Store, Write

ANN = Caller(principal="ann", tenant="acme", session="s1")


RUN = "018bcfe56800" + 24 * "a"


class Crowded(MemoryStore):
    """A memory store whose reads give way to others before they return."""

    async def get(self, family: Family, key: Key) -> Entry | None:
        entry = await super().get(family, key)
        await asyncio.sleep(0)
        return entry


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["memory", "rocksdb"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[Store]:
    made: Store = (
        MemoryStore(clock=clock)
        if request.param == "memory"
        else RocksStore.open(tmp_path / "db", clock=clock)
    )
    yield made
    await made.close()


@pytest.fixture
def scopes(store: Store, clock: ManualClock) -> Scopes:
    return Scopes(store, clock=clock)


async def _value(scopes: Scopes, caller: Caller, spell: str, scope: StateScope, key: str) -> Any:
    return (await scopes.get(caller, spell, scope, key))[0]


# --- shapes


async def test_an_absent_key_reads_as_no_value_and_no_version(scopes: Scopes) -> None:
    assert await scopes.get(ANN, "notes", "spell", "k") == [None, None]


@pytest.mark.parametrize(
    "value", [None, True, 0, -1, 1.5, 2.0, 1 << 62, "", "é\0\U0010ffff", [], {}, {"a": [1, None]}]
)
async def test_a_value_comes_back_as_it_was_written(scopes: Scopes, value: Any) -> None:
    version = await scopes.set(ANN, "notes", "spell", "k", value)
    got, seen = await scopes.get(ANN, "notes", "spell", "k")
    assert (got, type(got), seen) == (value, type(value), version)


async def test_versions_are_opaque_hex_that_changes_with_each_write(scopes: Scopes) -> None:
    versions = [await scopes.set(ANN, "notes", "spell", "k", 1) for _ in range(3)]
    assert len(set(versions)) == 3
    assert all(len(version) == 16 and int(version, 16) > 0 for version in versions)


async def test_delete_tells_whether_the_key_was_there(scopes: Scopes) -> None:
    await scopes.set(ANN, "notes", "spell", "k", 1)
    assert await scopes.delete(ANN, "notes", "spell", "k") is True
    assert await scopes.delete(ANN, "notes", "spell", "k") is False
    assert await scopes.get(ANN, "notes", "spell", "k") == [None, None]


# --- whose key is whose

_SCOPES: tuple[StateScope, ...] = ("spell", "session", "user", "shared")
_OTHERS = {
    "tenant": (replace(ANN, tenant="other"), "notes"),
    "principal": (replace(ANN, principal="bob"), "notes"),
    "session": (replace(ANN, session="s2"), "notes"),
    "spell": (ANN, "todo"),
    "door": (ANN.at("a2a"), "notes"),
}
_SEES: dict[StateScope, set[str]] = {
    "spell": {"principal", "session", "door"},
    "session": {"spell", "door"},
    "user": {"session", "spell", "door"},
    "shared": {"principal", "session", "spell", "door"},
}
"""Which of the others reach what Ann's spell `notes` wrote in each scope."""


@pytest.mark.parametrize("scope", _SCOPES)
@pytest.mark.parametrize("other", list(_OTHERS))
async def test_a_key_is_reached_by_those_its_scope_is_for_and_by_nobody_else(
    scopes: Scopes, scope: StateScope, other: str
) -> None:
    version = await scopes.set(ANN, "notes", scope, "k", "mine")
    caller, spell = _OTHERS[other]
    if other in _SEES[scope]:
        assert await scopes.get(caller, spell, scope, "k") == ["mine", version]
        assert (await scopes.scan(caller, spell, scope))["items"] != []
        assert await scopes.delete(caller, spell, scope, "k")
    else:
        assert await scopes.get(caller, spell, scope, "k") == [None, None]
        assert await scopes.scan(caller, spell, scope) == {"items": [], "next": None}
        assert not await scopes.delete(caller, spell, scope, "k")
        await scopes.set(caller, spell, scope, "k", "theirs")
        assert await scopes.increment(caller, spell, scope, "n") == 1
        assert await scopes.get(ANN, "notes", scope, "k") == ["mine", version]
        assert await scopes.get(ANN, "notes", scope, "n") == [None, None]


async def test_scopes_are_apart_even_where_their_ids_are_the_same(scopes: Scopes) -> None:
    caller = Caller(principal="x", tenant="x", session="x")
    for scope in _SCOPES:
        await scopes.set(caller, "x", scope, "k", scope)
    assert [await _value(scopes, caller, "x", scope, "k") for scope in _SCOPES] == list(_SCOPES)


@pytest.mark.parametrize(
    ("principal", "session"), [("ann\0", "s1"), ("an", "ns1"), ('ann","s1', ""), ("ann", 's1"]')]
)
async def test_a_session_name_cannot_be_made_up_to_reach_another_session(
    scopes: Scopes, principal: str, session: str
) -> None:
    await scopes.set(ANN, "notes", "session", "k", "mine")
    caller = replace(ANN, principal=principal, session=session)
    assert await scopes.get(caller, "notes", "session", "k") == [None, None]
    assert await scopes.scan(caller, "notes", "session") == {"items": [], "next": None}


# --- races


async def test_if_version_writes_only_while_the_key_has_it(scopes: Scopes) -> None:
    first = await scopes.set(ANN, "notes", "spell", "k", 1, if_version="")
    second = await scopes.set(ANN, "notes", "spell", "k", 2, if_version=first)
    for stale in (first, ""):
        with pytest.raises(StateConflict, match="'k' has changed"):
            await scopes.set(ANN, "notes", "spell", "k", 3, if_version=stale)
        with pytest.raises(StateConflict, match="'k' has changed"):
            await scopes.delete(ANN, "notes", "spell", "k", if_version=stale)
    assert await scopes.get(ANN, "notes", "spell", "k") == [2, second]
    assert await scopes.delete(ANN, "notes", "spell", "k", if_version=second) is True
    assert await scopes.delete(ANN, "notes", "spell", "k", if_version="") is False
    with pytest.raises(StateConflict):
        await scopes.delete(ANN, "notes", "spell", "k", if_version=second)


@pytest.mark.parametrize("version", ["1", "0x00000000000001", "x" * 16, " " * 16, "0" * 17])
async def test_what_is_no_version_is_refused(scopes: Scopes, version: str) -> None:
    with pytest.raises(StateError, match="is no version"):
        await scopes.set(ANN, "notes", "spell", "k", 1, if_version=version)
    with pytest.raises(StateError, match="is no version"):
        await scopes.delete(ANN, "notes", "spell", "k", if_version=version)


async def test_updates_by_if_version_lose_none_of_each_other() -> None:
    """What `State.update` does: read, change, write if nobody was faster, else again."""
    scopes = Scopes(Crowded())

    async def append(number: int) -> int:
        for attempt in range(1000):
            value, version = await scopes.get(ANN, "notes", "shared", "list")
            try:
                await scopes.set(
                    ANN,
                    "notes",
                    "shared",
                    "list",
                    [*(value or []), number],
                    if_version=version or "",
                )
            except StateConflict:
                continue
            return attempt
        raise AssertionError("starved")

    async with asyncio.timeout(20):
        attempts = await asyncio.gather(*(append(number) for number in range(30)))
    assert sorted(await _value(scopes, ANN, "notes", "shared", "list")) == list(range(30))
    assert max(attempts) > 0, "nobody was interrupted, so nothing was tested"


async def test_increments_at_the_same_time_all_count() -> None:
    scopes = Scopes(Crowded())
    async with asyncio.timeout(20):
        totals = await asyncio.gather(
            *(scopes.increment(ANN, "notes", "shared", "n") for _ in range(50))
        )
    assert sorted(totals) == list(range(1, 51))


async def test_of_deletes_at_the_same_time_one_found_the_key() -> None:
    scopes = Scopes(Crowded())
    await scopes.set(ANN, "notes", "shared", "k", 1)
    async with asyncio.timeout(20):
        found = await asyncio.gather(
            *(scopes.delete(ANN, "notes", "shared", "k") for _ in range(9))
        )
    assert sum(found) == 1


# --- increment


async def test_increment_counts_an_absent_key_as_zero_and_adds_as_told(scopes: Scopes) -> None:
    assert await scopes.increment(ANN, "notes", "spell", "n") == 1
    assert await scopes.increment(ANN, "notes", "spell", "n", 5) == 6
    assert await scopes.increment(ANN, "notes", "spell", "n", -7) == -1
    assert await scopes.increment(ANN, "notes", "spell", "n", 0.5) == -0.5
    assert await _value(scopes, ANN, "notes", "spell", "n") == -0.5


@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, "null"), (True, "a boolean"), ("1", "a text"), ([1], "a list"), ({}, "an object")],
)
async def test_increment_of_something_else_than_a_number_is_refused(
    scopes: Scopes, value: Any, kind: str
) -> None:
    await scopes.set(ANN, "notes", "spell", "n", value)
    with pytest.raises(StateError, match=f"'n' holds {kind}, not a number"):
        await scopes.increment(ANN, "notes", "spell", "n")
    assert await _value(scopes, ANN, "notes", "spell", "n") == value


@pytest.mark.parametrize(
    ("value", "by"),
    [((1 << 63) - 1, 1), (-(1 << 63), -1), (1e308, 1e308), (0, float("nan")), (10**400, 0.5)],
)
async def test_increment_out_of_the_range_of_numbers_is_refused(
    scopes: Scopes, value: Any, by: float
) -> None:
    await scopes.set(ANN, "notes", "spell", "n", value)
    with pytest.raises(StateError, match="range of numbers"):
        await scopes.increment(ANN, "notes", "spell", "n", by)
    assert await _value(scopes, ANN, "notes", "spell", "n") == value


async def test_increment_by_something_else_than_a_number_is_refused(scopes: Scopes) -> None:
    with pytest.raises(StateError, match="incremented by a number, not true"):
        await scopes.increment(ANN, "notes", "spell", "n", True)


# --- scan


async def test_a_scan_returns_the_keys_under_a_prefix_in_order(scopes: Scopes) -> None:
    versions = {
        key: await scopes.set(ANN, "notes", "spell", key, key.upper())
        for key in ("b", "a/2", "a/10", "a", "a/", "a\0", "ab")
    }

    async def keys(prefix: str, *, reverse: bool = False) -> list[str]:
        found = await scopes.scan(ANN, "notes", "spell", prefix, reverse=reverse)
        assert found["next"] is None
        return [item["key"] for item in found["items"]]

    assert await keys("a/") == ["a/", "a/10", "a/2"]
    assert await keys("a/", reverse=True) == ["a/2", "a/10", "a/"]
    assert await keys("a") == ["a", "a\0", "a/", "a/10", "a/2", "ab"]
    assert await keys("") == sorted(versions)
    assert await keys("x") == []
    found = await scopes.scan(ANN, "notes", "spell", "b")
    assert found == {"items": [{"key": "b", "value": "B", "version": versions["b"]}], "next": None}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7])
async def test_pages_joined_by_next_are_the_whole(
    scopes: Scopes, limit: int, reverse: bool
) -> None:
    names = [f"k{number}" for number in range(6)]
    for key in (*names, "j", "l"):
        await scopes.set(ANN, "notes", "spell", key, 1)
    seen: list[str] = []
    after: str | None = None
    while True:
        page = await scopes.scan(
            ANN, "notes", "spell", "k", after=after, limit=limit, reverse=reverse
        )
        assert 0 < len(page["items"]) <= limit
        seen += [item["key"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == (names[::-1] if reverse else names)


@pytest.mark.parametrize("limit", [0, -1, MAX_SCAN + 1])
async def test_a_scan_limit_out_of_range_is_refused(scopes: Scopes, limit: int) -> None:
    with pytest.raises(StateError, match=f"from 1 to 1000, not {limit}"):
        await scopes.scan(ANN, "notes", "spell", limit=limit)


async def test_the_largest_scan_says_that_more_follow(scopes: Scopes) -> None:
    for number in range(MAX_SCAN + 1):
        await scopes.set(ANN, "notes", "spell", f"{number:04}", number)
    page = await scopes.scan(ANN, "notes", "spell", limit=MAX_SCAN)
    assert len(page["items"]) == MAX_SCAN
    assert page["next"] == "0999"


_texts = st.text(alphabet="\0ab/\ud7ff\ue000\U0010ffff", max_size=3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.lists(_texts.filter(bool), unique=True, max_size=8), prefix=_texts)
async def test_a_scan_finds_exactly_the_keys_that_start_with_the_prefix(
    scopes: Scopes, keys: list[str], prefix: str
) -> None:
    for item in (await scopes.scan(ANN, "notes", "spell"))["items"]:
        await scopes.delete(ANN, "notes", "spell", item["key"])
    for key in keys:
        await scopes.set(ANN, "notes", "spell", key, 1)
    found = await scopes.scan(ANN, "notes", "spell", prefix)
    assert [item["key"] for item in found["items"]] == sorted(
        key for key in keys if key.startswith(prefix)
    )


# --- the scope of a run


async def test_a_run_has_a_scope_of_its_own_that_goes_with_it(store: Store) -> None:
    scopes = Scopes(store)
    other = RUN[:-1] + "b"
    version = await scopes.set(ANN, "notes", "run", "k", "mine", run_id=RUN)
    assert await scopes.get(ANN, "notes", "run", "k", run_id=RUN) == ["mine", version]
    assert await scopes.get(ANN, "notes", "run", "k", run_id=other) == [None, None]
    await scopes.increment(ANN, "notes", "run", "n", run_id=other)
    assert len((await scopes.scan(ANN, "notes", "run", run_id=RUN))["items"]) == 1
    await store.commit([scopes.drop_run(ANN.tenant, RUN)])
    assert await scopes.scan(ANN, "notes", "run", run_id=RUN) == {"items": [], "next": None}
    assert await scopes.get(ANN, "notes", "run", "n", run_id=other) == [1, shown(3)]
    assert await scopes.delete(ANN, "notes", "run", "n", run_id=other)


async def test_the_scope_of_a_run_is_refused_where_there_is_none(scopes: Scopes) -> None:
    with pytest.raises(StateError, match="needs a run"):
        await scopes.set(ANN, "notes", "run", "k", 1)
    transaction = scopes.transaction(ANN, "notes")
    with pytest.raises(StateError, match="needs a run"):
        transaction.get("run", "k")
    transaction.close()


# --- expiry


async def test_a_key_with_a_time_to_live_is_absent_after_it(
    scopes: Scopes, clock: ManualClock
) -> None:
    version = await scopes.set(ANN, "notes", "spell", "k", 1, ttl_seconds=1.5)
    await clock.advance(1.25)
    assert await scopes.get(ANN, "notes", "spell", "k") == [1, version]
    await clock.advance(0.25)
    assert await scopes.get(ANN, "notes", "spell", "k") == [None, None]
    assert await scopes.delete(ANN, "notes", "spell", "k") is False
    assert (await scopes.scan(ANN, "notes", "spell"))["items"] == []
    await scopes.set(ANN, "notes", "spell", "k", 2, if_version="")


async def test_increment_leaves_the_expiry_and_set_replaces_it(
    scopes: Scopes, clock: ManualClock
) -> None:
    for key in ("counter", "kept"):
        await scopes.set(ANN, "notes", "spell", key, 1, ttl_seconds=2)
    assert await scopes.increment(ANN, "notes", "spell", "counter") == 2
    await scopes.set(ANN, "notes", "spell", "kept", 1)
    await clock.advance(2)
    assert await scopes.increment(ANN, "notes", "spell", "counter") == 1
    assert await _value(scopes, ANN, "notes", "spell", "kept") == 1


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), True])
async def test_a_time_to_live_that_is_no_positive_number_is_refused(
    scopes: Scopes, ttl: float
) -> None:
    with pytest.raises(StateError, match="positive number of seconds"):
        await scopes.set(ANN, "notes", "spell", "k", 1, ttl_seconds=ttl)


# --- records in the same batch


async def test_a_write_and_its_record_share_one_commit(store: Store) -> None:
    scopes = Scopes(store)
    results: list[Any] = []

    def record(result: Any) -> list[Write]:
        results.append(result)
        return [Put(Family.JOURNAL, (RUN, len(results)), b"")]

    version = await scopes.set(ANN, "notes", "spell", "k", 1, record=record)
    await scopes.increment(ANN, "notes", "spell", "k", record=record)
    assert await scopes.delete(ANN, "notes", "spell", "k", record=record)
    assert not await scopes.delete(ANN, "notes", "spell", "k", record=record)
    transaction = scopes.transaction(ANN, "notes")
    await transaction.commit([], record=lambda: record("committed"))
    assert results == [None, 2, True, "committed"]
    rows = await store.scan(Family.JOURNAL, (RUN,))
    assert shown(rows[0][1].version) == version
    assert len({entry.version for _, entry in rows}) == 4
    assert await store.commit([]) == rows[-1][1].version


async def test_a_write_that_begins_again_asks_for_its_record_again() -> None:
    store = Crowded()
    scopes = Scopes(store)
    asked = 0

    def record(result: Any) -> list[Write]:
        nonlocal asked
        asked += 1
        return [Put(Family.JOURNAL, (RUN, result), b"")]

    async with asyncio.timeout(20):
        await asyncio.gather(
            *(scopes.increment(ANN, "notes", "shared", "n", record=record) for _ in range(9))
        )
    assert asked > 9, "nobody was interrupted, so nothing was tested"
    assert [key[1] for key, _ in await store.scan(Family.JOURNAL, ())] == list(range(1, 10))


async def test_a_conflict_writes_neither_the_key_nor_the_record(scopes: Scopes) -> None:
    record: list[Write] = [Put(Family.JOURNAL, (RUN, 1), b"")]
    with pytest.raises(StateConflict):
        await scopes.set(
            ANN, "notes", "spell", "k", 1, if_version="0" * 15 + "9", record=lambda _: record
        )
    assert await scopes.get(ANN, "notes", "spell", "k") == [None, None]


# --- watching


async def test_a_watch_tells_the_newest_of_each_key_and_where_to_go_on(scopes: Scopes) -> None:
    waiting = asyncio.create_task(scopes.watch(ANN, "notes", "spell", "a"))
    await asyncio.sleep(0)
    await scopes.set(ANN, "notes", "spell", "b", 1)
    await scopes.set(ANN, "todo", "spell", "a", 1)
    await scopes.set(replace(ANN, tenant="other"), "notes", "spell", "a", 1)
    await asyncio.sleep(0)
    assert not waiting.done()
    version = await scopes.set(ANN, "notes", "spell", "a/1", {"n": 1})
    async with asyncio.timeout(20):
        found = await waiting
    change = {"key": "a/1", "value": {"n": 1}, "version": version, "deleted": False}
    assert found == {"changes": [change], "next": version, "resync": False}
    await scopes.set(ANN, "notes", "spell", "a/2", 1)
    await scopes.delete(ANN, "notes", "spell", "a/1")
    found = await scopes.watch(ANN, "notes", "spell", "a", since=found["next"])
    assert [(each["key"], each["value"], each["deleted"]) for each in found["changes"]] == [
        ("a/2", 1, False),
        ("a/1", None, True),
    ]


async def test_a_watch_that_times_out_says_where_to_go_on_without_missing_anything(
    scopes: Scopes, clock: ManualClock
) -> None:
    waiting = asyncio.create_task(
        scopes.watch(ANN, "notes", "spell", "a", since="", timeout_seconds=5)
    )
    async with asyncio.timeout(20):
        resync = await waiting
    assert (resync["changes"], resync["resync"]) == ([], True)
    waiting = asyncio.create_task(
        scopes.watch(ANN, "notes", "spell", "a", since=resync["next"], timeout_seconds=5)
    )
    await clock.sleeper()
    other = await scopes.set(ANN, "notes", "spell", "b", 1)
    await clock.advance(5)
    async with asyncio.timeout(20):
        found = await waiting
    assert found == {"changes": [], "next": other, "resync": False}


async def test_a_watch_since_something_that_is_no_version_is_refused(scopes: Scopes) -> None:
    with pytest.raises(StateError, match="is no version"):
        await scopes.watch(ANN, "notes", "spell", since="yesterday")


# --- transactions


def _write(key: str, value: Any, **more: Any) -> StateWrite:
    return StateWrite(scope="spell", key=key, value=value, **more)


async def test_a_transaction_reads_what_was_there_when_it_began_and_writes_all_at_once(
    scopes: Scopes, clock: ManualClock
) -> None:
    version = await scopes.set(ANN, "notes", "spell", "a", 1)
    await scopes.set(ANN, "notes", "spell", "gone", 1)
    transaction = scopes.transaction(ANN, "notes", run_id=RUN)
    await scopes.set(ANN, "notes", "user", "elsewhere", 1)
    assert transaction.get("spell", "a") == [1, version]
    await transaction.commit(
        [
            _write("a", 2),
            _write("b", 3, ttl_seconds=1),
            _write("gone", None, is_delete=True),
            StateWrite(scope="run", key="r", value=4),
        ]
    )
    items = (await scopes.scan(ANN, "notes", "spell"))["items"]
    assert [(item["key"], item["value"]) for item in items] == [("a", 2), ("b", 3)]
    assert len({item["version"] for item in items}) == 1
    assert await _value(scopes, ANN, "notes", "user", "elsewhere") == 1
    assert (await scopes.get(ANN, "notes", "run", "r", run_id=RUN))[0] == 4
    await clock.advance(1)
    assert await scopes.get(ANN, "notes", "spell", "b") == [None, None]


async def test_a_transaction_whose_reads_have_changed_conflicts_until_it_is_renewed(
    scopes: Scopes,
) -> None:
    transaction = scopes.transaction(ANN, "notes")
    assert transaction.get("spell", "a") == [None, None]
    version = await scopes.set(ANN, "notes", "spell", "a", 1)
    with pytest.raises(StateConflict, match="has changed"):
        await transaction.commit([_write("b", 1)])
    transaction.renew()
    assert transaction.get("spell", "a") == [1, version]
    await transaction.commit([_write("b", 2)])
    assert await _value(scopes, ANN, "notes", "spell", "b") == 2


async def test_a_scan_in_a_transaction_is_a_page_and_finds_phantoms(scopes: Scopes) -> None:
    for number in range(5):
        await scopes.set(ANN, "notes", "spell", f"n/{number}", number)
    for reverse, page, behind in ((False, ["n/0", "n/1"], "n/4"), (True, ["n/4", "n/3"], "n/0")):
        transaction = scopes.transaction(ANN, "notes")
        found = transaction.scan("spell", "n/", limit=2, reverse=reverse)
        assert found == await scopes.scan(ANN, "notes", "spell", "n/", limit=2, reverse=reverse)
        assert ([item["key"] for item in found["items"]], found["next"]) == (page, page[1])
        await scopes.set(ANN, "notes", "spell", behind, "behind what was read")
        await transaction.commit([_write("done", reverse)])
        transaction.renew()
        transaction.scan("spell", "n/", limit=2, reverse=reverse)
        await scopes.set(ANN, "notes", "spell", page[0] + "/phantom", 1)
        with pytest.raises(StateConflict):
            await transaction.commit([_write("done", reverse)])
        transaction.close()


async def test_what_a_transaction_is_given_wrongly_is_refused_and_nothing_is_written(
    scopes: Scopes,
) -> None:
    transaction = scopes.transaction(ANN, "notes")
    with pytest.raises(StateError, match="from 1 to"):
        transaction.scan("spell", limit=0)
    with pytest.raises(StateError, match="must not be empty"):
        transaction.get("spell", "")
    for bad in (_write("", 1), _write("k", object()), _write("k", 1, ttl_seconds=-1)):
        with pytest.raises(StateError):
            await transaction.commit([_write("a", 1), bad])
        transaction.renew()
    with pytest.raises(StateTooLarge, match="501 keys, the limit is 500"):
        await transaction.commit([_write(f"k{n}", n) for n in range(501)])
    transaction.renew()
    with pytest.raises(StateTooLarge, match="bytes, the limit is 4194304"):
        await transaction.commit([_write(f"k{n}", "v" * (250 << 10)) for n in range(17)])
    transaction.close()
    assert (await scopes.scan(ANN, "notes", "spell"))["items"] == []


# --- limits


async def test_a_key_of_the_largest_size_is_kept_and_one_byte_more_is_refused(
    scopes: Scopes,
) -> None:
    for key in ("k" * MAX_KEY_BYTES, "é" * (MAX_KEY_BYTES // 2), "\0" * MAX_KEY_BYTES):
        await scopes.set(ANN, "notes", "spell", key, 1)
        assert await _value(scopes, ANN, "notes", "spell", key) == 1
        with pytest.raises(StateTooLarge, match=r"1025 bytes, the limit is 1024") as caught:
            await scopes.set(ANN, "notes", "spell", key + "k", 1)
        assert caught.value.data == {"size": 1025, "limit": 1024}


async def test_a_value_of_the_largest_size_is_kept_and_one_byte_more_is_refused(
    scopes: Scopes,
) -> None:
    text = "v" * (MAX_VALUE_BYTES - 2)  # the quotes of JSON count
    await scopes.set(ANN, "notes", "spell", "k", text)
    with pytest.raises(StateTooLarge, match=r"262145 bytes, the limit is 262144"):
        await scopes.set(ANN, "notes", "spell", "k", text + "v")
    assert await _value(scopes, ANN, "notes", "spell", "k") == text


@pytest.mark.parametrize(("key", "why"), [("", "must not be empty"), ("\ud800", "valid Unicode")])
async def test_a_key_that_is_none_is_refused_everywhere(scopes: Scopes, key: str, why: str) -> None:
    with pytest.raises(StateError, match=why):
        await scopes.get(ANN, "notes", "spell", key)
    with pytest.raises(StateError, match=why):
        await scopes.set(ANN, "notes", "spell", key, 1)
    with pytest.raises(StateError, match=why):
        await scopes.delete(ANN, "notes", "spell", key)
    with pytest.raises(StateError, match=why):
        await scopes.increment(ANN, "notes", "spell", key)
    with pytest.raises(StateError, match=why):
        await scopes.scan(ANN, "notes", "spell", after=key)


@pytest.mark.parametrize("value", [object(), "\ud800", [1j]])
async def test_a_value_that_is_no_json_is_refused(scopes: Scopes, value: Any) -> None:
    with pytest.raises(StateError, match="no JSON"):
        await scopes.set(ANN, "notes", "spell", "k", value)


async def test_a_value_nested_without_end_is_refused(scopes: Scopes) -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(StateError, match="no JSON"):
        await scopes.set(ANN, "notes", "spell", "k", value)


@pytest.mark.parametrize("stored", [b"", b"j", b"j{", b"?1"])
async def test_bytes_that_are_no_value_are_damage(stored: bytes) -> None:
    store = MemoryStore()
    await store.commit([Put(Family.KV, ("acme", "spell", "notes", "k"), stored)])
    with pytest.raises(StateCorrupt, match="'k' is damaged"):
        await Scopes(store).get(ANN, "notes", "spell", "k")
    with pytest.raises(StateCorrupt, match="'k' is damaged"):
        await Scopes(store).scan(ANN, "notes", "spell")


# --- on disk


async def test_what_spells_wrote_is_there_after_a_restart(tmp_path: Path) -> None:
    store = RocksStore.open(tmp_path / "db")
    versions = {
        scope: await Scopes(store).set(ANN, "notes", scope, "k", {"in": scope}) for scope in _SCOPES
    }
    await store.close()
    store = RocksStore.open(tmp_path / "db")
    for scope in _SCOPES:
        found = await Scopes(store).get(ANN, "notes", scope, "k")
        assert found == [{"in": scope}, versions[scope]]
    await store.close()


async def test_keys_lie_on_disk_as_documented() -> None:
    store = MemoryStore()
    for scope in _SCOPES:
        await Scopes(store).set(ANN, "notes", scope, "k", [1])
    rows = await store.scan(Family.KV, ())
    assert [(key, entry.value) for key, entry in rows] == [
        (("acme", "session", '["ann","s1"]', "k"), b"j[1]"),
        (("acme", "shared", "", "k"), b"j[1]"),
        (("acme", "spell", "notes", "k"), b"j[1]"),
        (("acme", "user", "ann", "k"), b"j[1]"),
    ]
