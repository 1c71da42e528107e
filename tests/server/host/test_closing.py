"""Closing a host: nothing is lost, nothing is left behind, whatever is under way and fails."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from llmspell.errors import ConfigError, InternalError, RunInterrupted
from llmspell.host.host import Host
from llmspell.runtime.lua.engine import LuaEngine
from llmspell.security.principals import local_caller
from tests.support.hosts import open_host, write_spells

COUNTS = 'return Spell.create { run = function() return State.shared:increment "count" end }'
CROWD = """
return Spell.create { run = function()
  State.shared:set("begun", true)
  local branches = {}
  for i = 1, 500 do branches[i] = function() sleep(3) end end
  parallel(branches)
  return "all"
end }
"""
OUTER = """
return Spell.create {
  needs = { tools = { "crowd" } },
  run = function() return Spell.get("crowd"):cast {} end,
}
"""
BEGUN = """
return Spell.create { run = function()
  while not State.shared:get "begun" do State.shared:watch("begun", { timeout = "5s" }) end
end }
"""
SPELLS = {"counts": COUNTS, "crowd": CROWD, "outer": OUTER, "begun": BEGUN}
ME = local_caller()


def pids(host: Host) -> list[int]:
    assert isinstance(host.engine, LuaEngine)
    return host.engine.worker_pids


async def test_closing_in_the_middle_of_a_crowd_of_effects_leaves_nothing_under_way(
    tmp_path: Path,
) -> None:
    before = asyncio.all_tasks()
    async with open_host(tmp_path, SPELLS, state="rocksdb", watch=True) as host:
        async with asyncio.timeout(20):
            handle = await host.start("outer", {}, caller=ME)
            await host.cast("begun", {})
            await host.close()
        if left := asyncio.all_tasks() - before:  # a save that was due soon, and finds nothing
            _, pending = await asyncio.wait(left, timeout=5)
            assert not pending
        with pytest.raises(RunInterrupted):
            await handle.result()
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host, asyncio.timeout(20):
        assert (await (await host.run(handle.id, caller=ME)).result()).output == "all"


async def test_a_run_that_is_started_while_the_host_closes_is_performed_once_by_the_next(
    tmp_path: Path,
) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host, asyncio.timeout(20):
        starting = asyncio.ensure_future(host.start("counts", {}, caller=ME, key="mine"))
        await asyncio.sleep(0)  # it is being stored
        await host.close()
        with pytest.raises(RunInterrupted) as caught:
            await starting
        assert caught.value.hint == "it goes on when llmspell is back"
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host, asyncio.timeout(20):
        handle = await host.start("counts", {}, caller=ME, key="mine")
        assert handle.id == caught.value.run_id
        assert (await handle.result()).output == 1


async def test_whoever_closes_a_host_waits_until_it_is_closed(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host, asyncio.timeout(20):
        await host.start("crowd", {}, caller=ME)
        await host.cast("begun", {})
        first = asyncio.ensure_future(host.close())
        await asyncio.sleep(0)
        await host.close()
        assert first.done()
        assert pids(host) == []


async def test_a_closed_host_casts_nothing(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS) as host:
        await host.close()
        with pytest.raises(InternalError, match="closed"):
            await host.cast("counts", {})
        with pytest.raises(InternalError, match="closed"):
            await host.start_source("x.lua", "return 1", None)


async def test_who_waits_for_a_run_does_not_stop_it_by_hearing_that_the_host_closes(
    tmp_path: Path,
) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host, asyncio.timeout(20):
        waiting = await host.begin("crowd", {}, caller=ME)

        async def wait() -> None:
            try:
                await waiting.settled()
            finally:
                await waiting.leave()

        waiter = asyncio.ensure_future(wait())
        await host.cast("begun", {})
        await host.close()
        with pytest.raises(RunInterrupted):
            await waiter
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host, asyncio.timeout(20):
        assert (await (await host.run(waiting.id, caller=ME)).result()).output == "all"


async def test_everything_is_released_when_closing_is_cancelled(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        await host.cast("counts", {})
        await host.start("crowd", {}, caller=ME)
        assert pids(host)
        closing = asyncio.ensure_future(host.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert pids(host) == []
        async with open_host(tmp_path, SPELLS, state="memory"):
            pass  # another host of the same project, in a process that lost nothing
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        assert (await host.cast("counts", {})).output == 2


async def test_a_host_that_cannot_be_opened_leaves_the_database_to_the_next(tmp_path: Path) -> None:
    settings = tmp_path / "llmspell.toml"
    settings.write_text('[providers.openai]\napi_key = "env:NO_SUCH_KEY"\n', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        async with open_host(tmp_path, state="rocksdb"):
            pass
    settings.write_text("", encoding="utf-8")
    write_spells(tmp_path, SPELLS)
    async with open_host(tmp_path, state="rocksdb") as host:
        assert (await host.cast("counts", {})).output == 1
    assert caught.value.code == "config.invalid"  # kept until here, with all that it holds
