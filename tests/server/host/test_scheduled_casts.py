"""Schedules of a real host: spells that are cast by themselves, and a host that dies over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest

from llmspell import failpoints
from llmspell.clock import ManualClock
from llmspell.errors import SpecError
from llmspell.host.host import Host
from llmspell.host.schedules import TICK_SECONDS, Schedules
from llmspell.runs.record import Run
from llmspell.schedule import Schedule
from llmspell.security.principals import local_caller
from tests.support.hosts import open_host, write_spells

START = datetime(2026, 5, 1, 6, 0, tzinfo=UTC).timestamp()
HOUR = 3600.0

REPORT = """
return Spell.create {
  schedule = { cron = "0 7 * * *", input = { days = 2 } },
  input = { days = Schema.integer(), kind = Schema.string("Kind", { default = "short" }) },
  run = function(input)
    State.user:increment("reports")
    return input.days .. " " .. input.kind
  end,
}
"""


@asynccontextmanager
async def owned(
    root: Path, clock: ManualClock, *, state: Literal["rocksdb", "memory"] = "memory"
) -> AsyncGenerator[tuple[Host, Schedules]]:
    async with open_host(root, {"report": REPORT}, clock=clock, state=state) as host:

        def declared(name: str) -> Schedule | None:
            castable = host.book.get(name)
            return castable.spec.schedule if castable else None

        schedules = Schedules(
            host,
            host.services.archive.store,
            clock,
            declared=declared,
            configured=host.project.settings.schedules,
        )
        await schedules.begin()
        try:
            yield host, schedules
        finally:
            await schedules.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)


async def ended(host: Host, count: int = 1) -> list[Run]:
    """Return the scheduled runs once there are so many and all have ended."""
    caller = local_caller("schedule")
    async with asyncio.timeout(20):
        while True:
            runs = (await host.runs(caller=caller, session="schedule")).runs
            if len(runs) >= count and all(run.is_final for run in runs):
                return list(runs)
            await asyncio.sleep(0.01)


async def test_a_spell_is_cast_by_itself_with_the_input_it_declares(tmp_path: Path) -> None:
    clock = ManualClock(START)
    async with owned(tmp_path, clock) as (host, schedules):
        assert schedules.next_due() == START + HOUR
        await clock.advance(HOUR)
        [run] = await ended(host)
        assert (run.spell, run.output, run.door) == ("report", "2 short", "schedule")


@pytest.mark.parametrize("point", ["schedule.before_start", "schedule.after_start"])
async def test_a_host_that_dies_over_a_cast_neither_loses_nor_repeats_it(
    tmp_path: Path, point: str
) -> None:
    clock = ManualClock(START)
    async with owned(tmp_path, clock, state="rocksdb") as (host, schedules):
        failpoints.arm(f"{point}:error")
        clock.step(HOUR)
        await clock.advance(TICK_SECONDS)
        await until(lambda: schedules.listing()[0].waiting == 1)
        failpoints.arm("")
        if point == "schedule.after_start":
            await ended(host)
    async with owned(tmp_path, clock, state="rocksdb") as (host, schedules):
        [run] = await ended(host)
        await until(lambda: schedules.listing()[0].last_run == run.id)
        outcome = await host.cast("report", {"days": 1})
        assert outcome.ok
        assert (await host.runs(caller=local_caller())).total == 2


async def test_a_schedule_whose_input_does_not_fit_is_an_error_of_its_file(
    tmp_path: Path,
) -> None:
    write_spells(tmp_path, {"good": REPORT})
    async with open_host(tmp_path) as host:
        path = tmp_path / "bad.lua"
        path.write_text(REPORT.replace("days = 2", "days = 'two'"), encoding="utf-8")
        [problem] = await host.book.check([path])
        assert isinstance(problem, SpecError)
        assert problem.message.startswith("schedule of 'bad': the input of 'bad' does not fit")
        assert problem.where
        assert problem.where.endswith("bad.lua:3")


async def test_a_schedule_inside_another_declaration_is_refused(tmp_path: Path) -> None:
    async with open_host(tmp_path, {"report": REPORT}) as host:
        path = tmp_path / "outer.lua"
        path.write_text(
            "local inner = Spell.create { name = 'inner', schedule = '0 7 * * *',\n"
            "  run = function() end }\n"
            "return Spell.create { workflow = Workflow.sequential { inner } }\n",
            encoding="utf-8",
        )
        [problem] = await host.book.check([path])
        assert isinstance(problem, SpecError)


async def test_a_file_with_a_schedule_can_be_cast_by_hand(tmp_path: Path) -> None:
    async with open_host(tmp_path) as host:
        outcome = await host.cast_source("report.lua", REPORT, {"days": 3})
        assert outcome.output == "3 short"
