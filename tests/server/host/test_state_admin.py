"""State from outside: within the tenant of its person and the limits of spells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmspell.clock import ManualClock
from llmspell.effects.effect import StateScope
from llmspell.errors import StateConflict, StateError, StateTooLarge
from llmspell.host.state_admin import StateOperations
from llmspell.host.state_interface import StateItem
from llmspell.security.principals import Caller, local_caller
from llmspell.state.checkpoints import Checkpoints
from llmspell.state.memory import MemoryStore
from llmspell.state.rocks import RocksStore
from llmspell.state.scopes import Scopes

SECONDS = 15


@dataclass
class Opened:
    """A state from outside, and what spells see of the same."""

    admin: StateOperations
    scopes: Scopes
    clock: ManualClock


@pytest.fixture
async def state(tmp_path: Path) -> AsyncGenerator[Opened]:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    scopes = Scopes(store, clock=clock)
    checkpoints = Checkpoints(store, tmp_path / "checkpoints", clock)
    async with asyncio.timeout(SECONDS):
        yield Opened(StateOperations(store, scopes, checkpoints), scopes, clock)
    await store.close()


@pytest.mark.parametrize(
    ("scope", "owner", "spell", "run_id"),
    [
        ("spell", "greet", "greet", ""),
        ("session", "s1", "any", ""),
        ("run", "r1", "any", "r1"),
        ("user", "", "any", ""),
        ("shared", "", "any", ""),
    ],
)
async def test_each_scope_is_the_one_spells_see(
    state: Opened, scope: StateScope, owner: str, spell: str, run_id: str
) -> None:
    caller = local_caller("mcp").at("mcp", session="s1")
    version = await state.scopes.set(caller, spell, scope, "key", [1], run_id=run_id)
    found = await state.admin.get(scope, owner, "key")
    assert found == StateItem(key="key", value=[1], version=version)
    await state.admin.set(scope, owner, "key", [2])
    assert (await state.scopes.get(caller, spell, scope, "key", run_id=run_id))[0] == [2]
    assert await state.admin.delete(scope, owner, "key")
    assert not await state.admin.delete(scope, owner, "key")
    assert await state.admin.get(scope, owner, "key") is None


@pytest.mark.parametrize(
    ("scope", "owner"),
    [("spell", ""), ("session", ""), ("run", ""), ("user", "x"), ("shared", "x")],
)
async def test_an_owner_is_named_where_there_is_one_and_nowhere_else(
    state: Opened, scope: StateScope, owner: str
) -> None:
    with pytest.raises(StateError, match="owner"):
        await state.admin.get(scope, owner, "key")


async def test_another_tenants_keys_are_not_seen(state: Opened) -> None:
    stranger = Caller(principal=local_caller().principal, tenant="another")
    await state.scopes.set(stranger, "any", "shared", "key", 1)
    assert await state.admin.get("shared", "", "key") is None
    assert (await state.admin.scan("shared", "")).items == []
    assert (await state.admin.usage())["shared"].keys == 0


async def test_the_limits_of_spells_hold(state: Opened) -> None:
    with pytest.raises(StateTooLarge):
        await state.admin.set("shared", "", "key", "x" * 300_000)
    with pytest.raises(StateError):
        await state.admin.set("shared", "", "", 1)
    with pytest.raises(StateError):
        await state.admin.scan("shared", "", limit=5000)
    version = await state.admin.set("shared", "", "key", 1, if_version="")
    with pytest.raises(StateConflict):
        await state.admin.set("shared", "", "key", 2, if_version="")
    with pytest.raises(StateConflict):
        await state.admin.delete("shared", "", "key", if_version=f"{int(version, 16) + 1:016x}")


async def test_a_value_expires_when_it_was_said_to(state: Opened) -> None:
    await state.admin.set("user", "", "key", 1, ttl_seconds=60)
    await state.clock.advance(59)
    assert await state.admin.get("user", "", "key") is not None
    await state.clock.advance(2)
    assert await state.admin.get("user", "", "key") is None


async def test_a_scan_goes_on_where_it_ended(state: Opened) -> None:
    for name in ("a1", "a2", "a3", "b"):
        await state.admin.set("shared", "", name, name)
    first = await state.admin.scan("shared", "", "a", limit=2)
    assert [item.key for item in first.items] == ["a1", "a2"]
    assert first.next == "a2"
    rest = await state.admin.scan("shared", "", "a", after=first.next)
    assert [(item.key, item.value) for item in rest.items] == [("a3", "a3")]
    assert rest.next is None
    backwards = await state.admin.scan("shared", "", reverse=True, limit=1)
    assert [item.key for item in backwards.items] == ["b"]


async def test_a_watch_tells_the_newest_of_each_key_and_goes_on_from_there(state: Opened) -> None:
    since = await state.admin.set("shared", "", "a/0", 0)
    await state.admin.set("shared", "", "a/1", 1)
    await state.admin.set("shared", "", "a/1", 2)
    await state.admin.set("shared", "", "b", 0)
    found = await state.admin.watch("shared", "", "a/", since=since)
    assert [(change.key, change.value, change.deleted) for change in found.changes] == [
        ("a/1", 2, False)
    ]
    waiting = asyncio.create_task(state.admin.watch("shared", "", "a/", since=found.next))
    await state.admin.delete("shared", "", "a/0")
    gone = (await waiting).changes
    assert [(change.key, change.deleted) for change in gone] == [("a/0", True)]


async def test_usage_is_told_by_scope(state: Opened) -> None:
    await state.admin.set("shared", "", "key", "value")
    await state.admin.set("spell", "greet", "key", "value")
    usage = await state.admin.usage()
    assert {scope: held.keys for scope, held in usage.items()} == {
        "spell": 1,
        "session": 0,
        "user": 0,
        "shared": 1,
        "run": 0,
    }
    assert usage["shared"].bytes > 0


async def test_a_store_in_memory_is_neither_verified_nor_copied(state: Opened) -> None:
    with pytest.raises(StateError, match="memory"):
        await state.admin.verify()
    with pytest.raises(StateError, match="memory"):
        await state.admin.backup()
    assert await state.admin.checkpoints() == []


async def test_a_store_on_disk_is_verified_and_copied_while_it_is_in_use(tmp_path: Path) -> None:
    store = RocksStore.open(tmp_path / "db")
    clock = ManualClock()
    admin = StateOperations(
        store, Scopes(store), Checkpoints(store, tmp_path / "checkpoints", clock)
    )
    async with asyncio.timeout(SECONDS):
        await admin.set("shared", "", "key", 1)
        found = await admin.verify()
        assert (found.rows["kv"], found.problems) == (1, ())
        made = await admin.backup()
        assert await admin.checkpoints() == [made]
        copy = await admin.backup(str(tmp_path / "copy"))
        assert copy.path == str(tmp_path / "copy")
        await store.close()
