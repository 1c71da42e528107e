"""A spell that changes while clients are connected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from llmspell.host.catalogue import Published
from tests.interaction.doors import Door, House
from tests.interaction.requirements import requirement
from tests.interaction.spells import SPELLS

pytestmark = pytest.mark.asyncio(loop_scope="session")

FIRST = SPELLS["changes"]
SECOND = FIRST.replace('"first"', '"second"')
BROKEN = FIRST.replace("return Spell", "return return Spell")


@asynccontextmanager
async def changed(house: House) -> AsyncGenerator[None]:
    """Return from the block's end once the server has looked at the spell again."""

    def now() -> Published | None:
        return house.host.catalogue().get("changes")

    before, looked = now(), asyncio.Event()
    end = house.host.on_change(lambda _: looked.set())
    try:
        yield
        async with asyncio.timeout(15):
            while now() == before:
                await looked.wait()
                looked.clear()
    finally:
        end()


@requirement("reload:changed:without-reconnecting")
async def test_a_changed_spell_is_used_at_once(door: Door, house: House) -> None:
    assert (await door.cast("changes", {})).output == "first"
    async with changed(house):
        house.write("changes", SECOND)
    try:
        assert (await door.cast("changes", {})).output == "second"
        assert "changes" in await door.names()
    finally:
        async with changed(house):
            house.write("changes", FIRST)


@requirement("reload:broken:older-version")
async def test_a_spell_that_no_longer_loads_goes_on_as_it_was(door: Door, house: House) -> None:
    async with changed(house):
        house.write("changes", BROKEN)
    try:
        assert (await door.cast("changes", {})).output == "first"
        assert "changes" in await door.names()
        spell = house.host.catalogue().get("changes")
        assert spell is not None
        assert spell.problem is not None
        assert spell.problem["code"] == "spec.syntax"
        assert spell.problem["where"] == "spells/changes.lua:3"
    finally:
        async with changed(house):
            house.write("changes", FIRST)
