"""The sessions of the handshake era on their own: in memory, as records, and back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from mcp.server.lowlevel import Server

from llmspell.clock import ManualClock
from llmspell.endpoints.mcp.http.session import Owner, Session
from llmspell.endpoints.mcp.http.sessions import KIND, QUIET_SECONDS, TIDY_SECONDS, Sessions
from llmspell.errors import AccessRateLimited
from llmspell.host.door_records import DoorRecords
from llmspell.values import Object
from tests.support.gated_store import GatedStore

ME: Owner = ("default", "me")
OTHER: Owner = ("default", "other")
SAID: Object = {"protocolVersion": "2025-11-25", "clientInfo": {"name": "c", "version": "1"}}
IDLE = 3600.0


class House:
    """A store, and the sessions in it as one process after another sees them."""

    def __init__(self, store: GatedStore, clock: ManualClock) -> None:
        self.store = store
        self.records = DoorRecords(store, clock)
        self.clock = clock
        self.server: Server[dict[str, Any]] = Server("test")
        self.revived: list[tuple[str, Object]] = []
        self.can_revive = True
        self.sessions = self.reopened()

    def reopened(self, *, bundle: str = "", most: int = 3) -> Sessions:
        return Sessions(
            self.records,
            lambda id, owner, params: Session(id, owner, self.server, params),
            lambda session: {"level": "info"},
            bundle=bundle,
            most=most,
            idle=IDLE,
            clock=self.clock,
        )

    async def revive(self, session: Session, state: Object) -> bool:
        await asyncio.sleep(0)
        self.revived.append((session.id, state))
        return self.can_revive

    async def add(self, owner: Owner = ME) -> Session:
        session = self.sessions.draft(owner, SAID)
        await self.sessions.add(session)
        return session

    async def find(self, id: str, owner: Owner = ME) -> Session | None:
        return await self.sessions.find(id, owner, self.revive)


@pytest.fixture
async def house() -> AsyncGenerator[House]:
    clock = ManualClock()
    store = GatedStore(clock=clock)
    async with asyncio.timeout(15):
        yield House(store, clock)
    await store.close()


async def test_a_session_is_found_by_its_owner_alone(house: House) -> None:
    session = await house.add()
    assert await house.find(session.id) is session
    assert await house.find(session.id, OTHER) is None
    assert await house.find("no such") is None
    assert house.revived == []


async def test_a_draft_is_no_session(house: House) -> None:
    draft = house.sessions.draft(ME, SAID)
    assert await house.find(draft.id) is None
    assert await house.records.list(KIND) == []


async def test_a_record_becomes_a_session_once_and_only_for_its_owner(house: House) -> None:
    session = await house.add()
    house.sessions = house.reopened()
    assert await house.find(session.id, OTHER) is None
    assert house.revived == []
    found = await asyncio.gather(*(house.find(session.id) for _ in range(5)))
    assert found[0] is not None
    assert found[0] is not session
    assert found[0].params == SAID
    assert found[0].client.name == "c"
    assert set(found) == {found[0]}
    assert house.revived == [(session.id, {"level": "info"})]


async def test_a_record_that_cannot_go_on_is_gone(house: House) -> None:
    session = await house.add()
    house.sessions = house.reopened()
    house.can_revive = False
    assert await house.find(session.id) is None
    assert await house.records.list(KIND) == []


async def test_a_session_belongs_to_what_the_endpoint_serves(house: House) -> None:
    session = await house.add()
    house.sessions = house.reopened(bundle="other")
    assert await house.find(session.id) is None


async def test_what_is_not_used_leaves_memory_and_comes_back(house: House) -> None:
    session = await house.add()
    house.clock.step(QUIET_SECONDS / 2)
    await house.find(session.id)
    house.clock.step(QUIET_SECONDS / 2 + TIDY_SECONDS)
    await house.sessions.tidy()
    assert await house.find(session.id) is session
    house.clock.step(QUIET_SECONDS + TIDY_SECONDS)
    await house.sessions.tidy()
    assert house.revived == []
    assert await house.find(session.id) is not session
    assert [id for id, _ in house.revived] == [session.id]


async def test_a_session_may_end_while_another_leaves_memory(house: House) -> None:
    first, second = await house.add(), await house.add()
    for session in (first, second):
        house.clock.step(1)
        await house.find(session.id)  # since it was written
    house.clock.step(QUIET_SECONDS + TIDY_SECONDS)
    house.store.shut()
    tidying = asyncio.ensure_future(house.sessions.tidy())
    await house.store.arrival()  # the first is being written
    deleting = asyncio.ensure_future(house.sessions.delete(second))
    await asyncio.sleep(0)
    house.store.open_gate()
    await asyncio.gather(tidying, deleting)
    assert [id for id, _ in await house.records.list(KIND)] == [first.id]


async def test_a_session_that_cannot_be_written_goes_on_and_is_written_later(
    house: House,
) -> None:
    house.store.is_full = True
    session = await house.add()
    assert await house.find(session.id) is session
    house.clock.step(QUIET_SECONDS + TIDY_SECONDS)
    await house.sessions.tidy()
    assert await house.find(session.id) is session
    house.store.is_full = False
    assert await house.find(session.id) is session
    house.clock.step(QUIET_SECONDS + TIDY_SECONDS)
    await house.sessions.tidy()
    again = await house.find(session.id)
    assert again not in (None, session)


async def test_a_session_ends_when_nobody_has_used_it_for_long(house: House) -> None:
    session = await house.add()
    for _ in range(4):  # used again and again it lasts
        house.clock.step(IDLE * 0.6)
        await house.sessions.tidy()
        assert await house.find(session.id) is not None
    house.clock.step(IDLE + QUIET_SECONDS + 1)
    await house.sessions.tidy()
    house.clock.step(IDLE + 1)
    assert await house.find(session.id) is None


async def test_one_too_many_ends_the_one_unused_longest_also_after_a_restart(
    house: House,
) -> None:
    ids: list[str] = []
    for _ in range(3):
        ids.append((await house.add()).id)
        house.clock.step(1)
    await house.find(ids[0])
    house.sessions = house.reopened()
    await house.sessions.load()
    other = await house.add(OTHER)
    await house.add()
    assert await house.find(ids[0]) is None  # its last use was not worth a write
    assert await house.find(ids[1]) is not None
    assert await house.find(other.id, OTHER) is other


async def test_when_all_are_in_use_there_is_no_other(house: House) -> None:
    sessions = [await house.add() for _ in range(3)]
    readers = [
        asyncio.ensure_future(session.standalone.write(_nowhere, [])) for session in sessions
    ]
    await asyncio.sleep(0)
    with pytest.raises(AccessRateLimited, match="3 sessions"):
        await house.add()
    readers[1].cancel()
    await asyncio.wait([readers[1]])
    await house.add()
    assert await house.find(sessions[1].id) is None
    for reader in readers:
        reader.cancel()
    await asyncio.wait(readers)


async def test_a_deleted_session_leaves_no_record(house: House) -> None:
    session = await house.add()
    await house.sessions.delete(session)
    assert await house.find(session.id) is None
    assert await house.records.list(KIND) == []


async def _nowhere(message: Any) -> None:
    """A connection that takes everything."""
