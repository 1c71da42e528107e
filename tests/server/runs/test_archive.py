"""Runs in the store: found by their owner, in order, page by page, and by nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmspell.errors import RunNotFound
from llmspell.runs.archive import Archive
from llmspell.runs.record import Event, Run, RunState
from llmspell.security.principals import Caller, Door
from llmspell.state.memory import MemoryStore
from llmspell.state.rocks import RocksStore
from llmspell.state.store import Family

ANN = Caller(principal="ann", tenant="one")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def archive(store: MemoryStore) -> Archive:
    return Archive(store)


def run(
    run_id: str,
    at: float = 1000.0,
    *,
    caller: Caller = ANN,
    state: RunState = "completed",
    session: str = "s",
    door: Door = "cli",
) -> Run:
    return Run(
        id=run_id,
        tenant=caller.tenant,
        principal=caller.principal,
        session=session,
        spell="hello",
        state=state,
        door=door,
        created_at=at,
        updated_at=at,
    )


def event(number: int) -> Event:
    return Event(number=number, at=float(number), kind="log", data={"n": number})


async def ids(archive: Archive, caller: Caller = ANN) -> list[str]:
    found, _, _ = await archive.list(caller, limit=1000)
    return [item.id for item in found]


async def pages(archive: Archive, size: int) -> list[list[str]]:
    result: list[list[str]] = []
    cursor: str | None = None
    while True:
        found, cursor, _ = await archive.list(ANN, limit=size, after=cursor)
        result.append([item.id for item in found])
        if cursor is None:
            return result


async def test_a_run_is_read_back_as_it_was_saved(archive: Archive) -> None:
    saved = run("a")
    saved.output = {"list": [1, 2.5, None, "ü"], "deep": {"er": True}}
    saved.message = {"id": "m1"}
    await archive.save(saved, [event(1), event(2)])
    assert await archive.load("one", "a") == saved
    assert await archive.events("a") == [event(1), event(2)]
    assert await archive.events("a", after=1) == [event(2)]


async def test_a_run_is_unknown_in_another_tenant(archive: Archive) -> None:
    await archive.save(run("a"), [])
    with pytest.raises(RunNotFound, match="'a'"):
        await archive.load("two", "a")


async def test_a_list_holds_the_runs_of_its_caller_only(archive: Archive) -> None:
    others = [
        Caller(principal="bob", tenant="one"),
        Caller(principal="ann", tenant="two"),
        Caller(principal="an", tenant="one"),
        Caller(principal="anna", tenant="one"),
        Caller(principal="", tenant="one"),
    ]
    await archive.save(run("mine"), [])
    for number, caller in enumerate(others):
        await archive.save(run(f"other{number}", caller=caller), [])
    assert await ids(archive) == ["mine"]
    for number, caller in enumerate(others):
        assert await ids(archive, caller) == [f"other{number}"]


async def test_the_last_changed_comes_first(archive: Archive) -> None:
    for name, at in (("a", 3.0), ("b", 1.0), ("c", 2.0)):
        await archive.save(run(name, at), [])
    assert await ids(archive) == ["a", "c", "b"]


async def test_a_run_that_changed_moves_to_the_front_and_stands_there_once(
    archive: Archive, store: MemoryStore
) -> None:
    for name, at in (("a", 1.0), ("b", 2.0)):
        await archive.save(run(name, at), [])
    await archive.save(run("a", 3.0), [], is_known=True, listed_at=(1.0,))
    assert await ids(archive) == ["a", "b"]
    assert len(await store.scan(Family.RUN, ("by",))) == 2


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
async def test_pages_hold_every_run_once_even_when_their_times_are_equal(
    archive: Archive, size: int
) -> None:
    times = [1000.0, 1000.0, 1000.0, 1000.000001, 999.0, 999.0, 1000.0]
    names = [f"r{number}" for number in range(len(times))]
    for name, at in zip(names, times, strict=True):
        await archive.save(run(name, at), [])
    found = await pages(archive, size)
    assert sorted(name for page in found for name in page) == names
    assert all(len(page) == size for page in found[:-1])
    assert [name for page in found for name in page] == await ids(archive)


async def test_what_begins_while_somebody_turns_pages_does_not_shift_them(
    archive: Archive,
) -> None:
    for number in range(4):
        await archive.save(run(f"r{number}", float(number)), [])
    first, cursor, total = await archive.list(ANN, limit=2)
    await archive.save(run("new", 99.0), [])
    second, end, _ = await archive.list(ANN, limit=2, after=cursor)
    assert [item.id for item in [*first, *second]] == ["r3", "r2", "r1", "r0"]
    assert (total, end) == (4, None)


async def test_a_list_longer_than_one_scan_is_whole(archive: Archive) -> None:
    for number in range(1203):
        await archive.save(run(f"{number:04}", 1000.0), [])
    found, cursor, total = await archive.list(ANN, limit=600)
    rest, end, _ = await archive.list(ANN, limit=1000, after=cursor)
    assert (total, len(found), len(rest), end) == (1203, 600, 603, None)
    assert [item.id for item in [*found, *rest]] == [f"{n:04}" for n in reversed(range(1203))]


async def test_a_list_is_narrowed_by_session_state_door_and_time(archive: Archive) -> None:
    for item in (
        run("a", 1.0, session="x", state="failed", door="mcp"),
        run("b", 2.0, session="y", state="failed", door="a2a"),
        run("c", 3.0, session="x", state="completed", door="mcp"),
    ):
        await archive.save(item, [])

    async def narrowed(
        *,
        session: str | None = None,
        state: RunState | None = None,
        door: str | None = None,
        updated_after: float | None = None,
    ) -> tuple[list[str], int]:
        found, _, total = await archive.list(
            ANN, session=session, state=state, door=door, updated_after=updated_after, limit=10
        )
        return [item.id for item in found], total

    assert await narrowed(session="x") == (["c", "a"], 2)
    assert await narrowed(state="failed") == (["b", "a"], 2)
    assert await narrowed(door="a2a") == (["b"], 1)
    assert await narrowed(updated_after=1.0) == (["c", "b"], 2)
    assert await narrowed(session="x", state="failed", door="mcp") == (["a"], 1)


@pytest.mark.parametrize("cursor", ["", "x", "12", "-a", "12-", "-12-a", "1.5-a", "²-a"])
async def test_what_is_no_cursor_is_refused(archive: Archive, cursor: str) -> None:
    await archive.save(run("a"), [])
    with pytest.raises(ValueError, match=r"cursor|invalid literal"):
        await archive.list(ANN, limit=1, after=cursor)


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_page_without_room_is_refused(archive: Archive, limit: int) -> None:
    await archive.save(run("a"), [])
    with pytest.raises(ValueError, match="cannot be had"):
        await archive.list(ANN, limit=limit)


async def test_only_runs_that_have_not_ended_are_found_live_in_all_tenants(
    archive: Archive,
) -> None:
    other = Caller(principal="bob", tenant="two")
    await archive.save(run("a", state="working"), [])
    await archive.save(run("b", state="submitted", caller=other), [])
    await archive.save(run("c", state="completed"), [])
    assert sorted(item.id for item in await archive.live()) == ["a", "b"]
    await archive.save(run("a", state="failed"), [], is_known=True, listed_at=(1000.0,))
    assert [item.id for item in await archive.live()] == ["b"]


async def test_more_live_runs_than_one_scan_are_all_found(archive: Archive) -> None:
    for number in range(501):
        await archive.save(run(f"{number:04}", state="working"), [])
    assert len(await archive.live()) == 501


async def test_more_events_than_one_scan_are_read_in_order(archive: Archive) -> None:
    await archive.save(run("a"), [event(n) for n in range(1, 1302)])
    assert [item.number for item in await archive.events("a")] == list(range(1, 1302))
    assert [item.number for item in await archive.events("a", after=1299)] == [1300, 1301]


async def test_events_of_one_run_are_not_those_of_another_whose_id_begins_alike(
    archive: Archive,
) -> None:
    await archive.save(run("a"), [event(1)])
    await archive.save(run("ab"), [event(1), event(2)])
    assert len(await archive.events("a")) == 1


async def test_what_is_saved_is_there_when_the_database_is_opened_again(tmp_path: Path) -> None:
    store = RocksStore.open(tmp_path / "db")
    await Archive(store).save(run("a", state="working"), [event(1)])
    await store.close()
    store = RocksStore.open(tmp_path / "db")
    archive = Archive(store)
    assert await archive.load("one", "a") == run("a", state="working")
    assert await archive.events("a") == [event(1)]
    assert await ids(archive) == ["a"]
    assert len(await archive.live()) == 1
    await store.close()
