"""Alarms: they ring at their time, and those that are forgotten cost nothing until then."""

from __future__ import annotations

import asyncio
import tracemalloc

from llmspell.clock import ManualClock
from llmspell.host.alarms import Alarms

DAY = 86_400.0


async def test_an_alarm_rings_at_its_time_whatever_was_forgotten_before() -> None:
    clock = ManualClock()
    rung: asyncio.Queue[str] = asyncio.Queue()
    alarms = Alarms(clock, rung.put_nowait)
    now = clock.time()
    alarms.set("first", now + 10)
    for number in range(1000):
        alarms.set(f"run-{number}", now + DAY + number)
        alarms.forget(f"run-{number}")
    alarms.set("second", now + 20)
    assert alarms.next_due() == now + 10
    await clock.advance(15)
    async with asyncio.timeout(5):
        assert await rung.get() == "first"
    assert alarms.next_due() == now + 20
    await clock.advance(10)
    async with asyncio.timeout(5):
        assert await rung.get() == "second"
    assert alarms.next_due() is None
    await alarms.close()


async def test_alarms_that_were_forgotten_take_no_memory() -> None:
    clock = ManualClock()
    alarms = Alarms(clock, lambda _: None)
    tracemalloc.start()
    try:
        for number in range(10_000):
            alarms.set(f"run-{number}", clock.time() + DAY)
            alarms.forget(f"run-{number}")
        assert tracemalloc.get_traced_memory()[0] < 500_000
    finally:
        tracemalloc.stop()
        await alarms.close()
