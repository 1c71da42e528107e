"""API keys: whom they let in, for how long, and what is kept of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from llmspell.clock import ManualClock
from llmspell.errors import KeyNotFound, UsageError
from llmspell.host.api_keys import PREFIX, ApiKeys
from llmspell.host.door_records import DoorRecords
from llmspell.security.principals import Caller
from llmspell.security.redaction import REDACTED, Redactor
from llmspell.state.memory import MemoryStore
from llmspell.state.store import Family, Store
from tests.support.gated_store import GatedStore

DAY = 86_400.0


class House:
    """A store, and the keys in it as one owner after another sees them."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.keys = ApiKeys(DoorRecords(store, clock), clock)

    def reopened(self) -> ApiKeys:
        return ApiKeys(DoorRecords(self.store, self.clock), self.clock)


@pytest.fixture
async def house() -> AsyncGenerator[House]:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    async with asyncio.timeout(15):
        yield House(store, clock)
    await store.close()


async def test_a_key_lets_in_its_principal_with_its_tenant_and_scopes(house: House) -> None:
    made = await house.keys.add("ci", tenant="acme", scopes=["cast:a cast:b"])
    assert await house.keys.caller(made.secret, "a2a") == Caller(
        principal=f"key:{made.key.id}",
        tenant="acme",
        door="a2a",
        scopes=frozenset({"cast:a", "cast:b"}),
    )


async def test_a_key_without_scopes_may_do_everything(house: House) -> None:
    made = await house.keys.add("all")
    caller = await house.keys.caller(made.secret, "mcp")
    assert caller is not None
    assert caller.scopes is None
    assert made.key.scopes is None


async def test_what_is_no_key_lets_nobody_in(house: House) -> None:
    made = await house.keys.add("ci")
    other = await house.keys.add("other")
    id, secret = made.key.id, made.secret
    mixed = f"{PREFIX}{other.key.id}_{secret.split('_', 2)[2]}"
    wrong = [secret[:-1], secret + "x", secret.upper(), f"{PREFIX}{id}_", f"{PREFIX}{id}", id, ""]
    for text in [*wrong, PREFIX, mixed, "é" * 40, f"lsk_zzzzzzzzzzzz_{'x' * 43}"]:
        assert await house.keys.caller(text, "mcp") is None, text


async def test_only_the_hash_of_a_key_is_kept(house: House) -> None:
    made = await house.keys.add("ci")
    [(_, entry)] = await house.store.scan(Family.DOOR, ("api.key",), limit=10)
    assert made.secret.encode() not in entry.value
    assert made.secret.split("_", 2)[2].encode() not in entry.value
    assert made.secret not in repr(await house.keys.list())


async def test_a_key_is_recognised_by_the_next_owner(house: House) -> None:
    made = await house.keys.add("ci", scopes=["read"])
    again = house.reopened()
    caller = await again.caller(made.secret, "mcp")
    assert caller is not None
    assert caller.scopes == {"read"}
    assert [key.id for key in await again.list()] == [made.key.id]


async def test_a_revoked_key_is_refused_at_once_and_by_the_next_owner(house: House) -> None:
    made, kept = await house.keys.add("ci"), await house.keys.add("kept")
    assert await house.keys.caller(made.secret, "mcp")
    assert (await house.keys.revoke(made.key.id)).label == "ci"
    for keys in (house.keys, house.reopened()):
        assert await keys.caller(made.secret, "mcp") is None
        assert await keys.caller(kept.secret, "mcp") is not None
    with pytest.raises(KeyNotFound):
        await house.keys.revoke(made.key.id)


async def test_writing_down_the_use_of_a_key_never_brings_a_revoked_one_back(
    house: House,
) -> None:
    made = await house.keys.add("ci")
    for _ in range(20):
        await house.clock.advance(61)
        await asyncio.gather(*(house.keys.caller(made.secret, "mcp") for _ in range(3)))
    using = asyncio.ensure_future(house.keys.caller(made.secret, "mcp"))
    await house.keys.revoke(made.key.id)
    await using
    assert await house.reopened().list() == []


async def test_a_key_expires_by_the_clock_and_stays_in_the_list(house: House) -> None:
    made = await house.keys.add("ci", seconds=DAY)
    await house.clock.advance(DAY - 1)
    assert await house.keys.caller(made.secret, "mcp")
    assert await house.keys.any()
    await house.clock.advance(1)
    assert await house.keys.caller(made.secret, "mcp") is None
    assert [key.has_expired for key in await house.keys.list()] == [True]
    assert not await house.keys.any()


async def test_the_last_use_is_known_at_once_and_kept_to_the_minute(house: House) -> None:
    made = await house.keys.add("ci")
    assert made.key.last_used_at is None
    first = house.clock.time()
    await house.keys.caller(made.secret, "mcp")
    await house.clock.advance(10)
    await house.keys.caller(made.secret, "mcp")
    assert [key.last_used_at for key in await house.keys.list()] == [first + 10]
    assert [key.last_used_at for key in await house.reopened().list()] == [first]


async def test_keys_are_listed_the_oldest_first(house: House) -> None:
    for label in ("b", "a", "c"):
        await house.keys.add(label)
        await house.clock.advance(1)
    assert [key.label for key in await house.keys.list()] == ["b", "a", "c"]


async def test_a_key_lets_in_though_its_use_cannot_be_written_down() -> None:
    clock = ManualClock()
    store = GatedStore(clock=clock)
    house = House(store, clock)
    made = await house.keys.add("ci")
    store.is_full = True
    caller = await house.keys.caller(made.secret, "mcp")
    assert caller is not None
    assert caller.principal == f"key:{made.key.id}"
    await store.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"label": ""},
        {"label": "two\nlines"},
        {"label": "x" * 101},
        {"label": "x", "tenant": ""},
        {"label": "x", "tenant": "a b"},
        {"label": "x", "scopes": ["nope"]},
        {"label": "x", "scopes": []},
        {"label": "x", "seconds": 0.0},
    ],
    ids=str,
)
async def test_a_key_that_makes_no_sense_is_not_made(house: House, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        await house.keys.add(**wrong)
    assert await house.keys.list() == []


def test_a_key_that_shows_up_in_a_text_is_redacted() -> None:
    text = Redactor().redact("sent lsk_0123456789ab_abcDEF-_123456 to it")
    assert text == f"sent {REDACTED} to it"
