"""Admissions: what is held open ends with the right to it, once, and not when it was released."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

import pytest

from llmspell.clock import ManualClock
from llmspell.endpoints.auth.admission import Admission
from llmspell.endpoints.auth.anonymous import AnonymousAuthenticator
from llmspell.endpoints.auth.gate import Gate
from llmspell.endpoints.auth.keys import KeyAuthenticator
from llmspell.endpoints.auth.token import TokenAuthenticator
from llmspell.host.api_keys import ApiKeys
from llmspell.host.door_records import DoorRecords
from llmspell.state.memory import MemoryStore


@dataclass
class House:
    """The keys of an owner, and a gate that lets their bearers in."""

    clock: ManualClock
    keys: ApiKeys
    gate: Gate
    ended: list[str] = field(default_factory=list[str])

    async def opened(self, seconds: float | None = None) -> tuple[str, dict[str, str]]:
        """Make a key, and return its id and the headers of its bearer."""
        made = await self.keys.add("ci", seconds=seconds)
        return made.key.id, {"authorization": f"Bearer {made.secret}"}

    def end(self, name: str) -> Callable[[], None]:
        """Return what notes that something of this name was ended."""
        return lambda: self.ended.append(name)


@pytest.fixture
async def house() -> AsyncGenerator[House]:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    keys = ApiKeys(DoorRecords(store, clock), clock)
    await keys.add("another")
    async with asyncio.timeout(15):
        yield House(clock, keys, Gate(await KeyAuthenticator.open(keys)))
    await store.close()


async def test_what_a_key_holds_open_ends_with_its_revocation(house: House) -> None:
    id, headers = await house.opened()
    _, other = await house.opened()
    house.gate.hold(headers, "mcp", house.end("one"))
    house.gate.hold(headers, "a2a", house.end("two"))
    house.gate.hold(other, "mcp", house.end("of another"))
    await house.keys.revoke(id)
    assert house.ended == ["one", "two"]


async def test_what_was_released_is_told_nothing(house: House) -> None:
    id, headers = await house.opened(seconds=60)
    with house.gate.hold(headers, "mcp", house.end("one")) as held:
        pass
    held.release()
    await house.keys.revoke(id)
    await house.clock.advance(61)
    assert house.ended == []


async def test_what_a_key_holds_open_ends_when_it_expires(house: House) -> None:
    _, headers = await house.opened(seconds=60)
    with house.gate.hold(headers, "mcp", house.end("one")):
        await house.clock.sleeper()
        await house.clock.advance(59)
        assert house.ended == []
        await house.clock.advance(1)
        assert house.ended == ["one"]


async def test_an_end_comes_once_whatever_ends_first(house: House) -> None:
    id, headers = await house.opened(seconds=60)
    house.gate.hold(headers, "mcp", house.end("one"))
    await house.clock.sleeper()
    await house.keys.revoke(id)
    await house.clock.advance(61)
    assert house.ended == ["one"]


async def test_what_is_opened_as_its_key_is_revoked_ends_at_once(house: House) -> None:
    id, headers = await house.opened()
    await house.keys.revoke(id)
    over = asyncio.Event()
    house.gate.hold(headers, "mcp", over.set)
    await over.wait()


async def test_ending_one_may_release_another(house: House) -> None:
    id, headers = await house.opened()
    second = house.gate.hold(headers, "mcp", house.end("never"))
    third = Admission(watch=lambda tell: house.keys.on_revoke(id, tell))
    first = third.hold(house.end("third"))
    house.keys.on_revoke(id, second.release)
    second.release()
    await house.keys.revoke(id)
    assert house.ended == ["third"]
    first.release()


@pytest.mark.parametrize("auth", [AnonymousAuthenticator(), TokenAuthenticator("s3cret")])
async def test_what_nobody_can_revoke_is_held_open_for_ever(
    auth: AnonymousAuthenticator | TokenAuthenticator,
) -> None:
    admission = auth.admission({}, "mcp")
    assert (admission.until, admission.watch) == (None, None)
