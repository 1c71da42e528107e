"""Runs that go on after the files of their spells were changed, or are gone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.durability.following import ME, ended, parked
from tests.support.hosts import open_host

ASKS = """return Spell.create { run = function(_, ctx)
  return { ctx:ask { message = "Go on?" }.ok, "first" }
end }"""
ABOVE = """return Spell.create {
  needs = { tools = { "asks" } },
  run = function() return Spell.get("asks"):cast {} end,
}"""


@pytest.mark.parametrize("cast", ["asks", "above"])
@pytest.mark.parametrize("now", ["gone", "changed", "broken"])
async def test_a_run_goes_on_with_what_it_began_with(cast: str, now: str, tmp_path: Path) -> None:
    spells = {"asks": ASKS, "above": ABOVE}
    async with open_host(tmp_path, spells) as host, asyncio.timeout(10):
        handle = await host.start(cast, {}, caller=ME)
        assert (await handle.result()).state == "input_required"
        await parked(host, handle.id)
        file = tmp_path / "spells" / "asks.lua"
        if now == "gone":
            file.unlink()
        else:
            text = ASKS.replace('"first"', '"second"') if now == "changed" else "return }"
            file.write_text(text, encoding="utf-8")
        await host.reload()
        await handle.answer(True)
        assert (await ended(handle)).output == [True, "first"]
