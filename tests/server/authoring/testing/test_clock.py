"""The time of a test: it passes only while everything waits, and then at once."""

from __future__ import annotations

import asyncio

import pytest

from llmspell.authoring.testing.clock import START, VirtualClock


class Computing:
    """Something that may compute, as scripts do."""

    def __init__(self) -> None:
        self.idle = asyncio.Event()
        self.idle.set()

    def clock(self) -> VirtualClock:
        async def wait() -> None:
            await self.idle.wait()

        return VirtualClock(wait, lambda: not self.idle.is_set())


async def test_a_sleep_moves_the_time_by_what_it_takes() -> None:
    clock = Computing().clock()
    assert clock.time() == START
    async with asyncio.timeout(5):
        await clock.sleep(3600)
        await clock.sleep(0)
        await clock.sleep(-1)
    assert clock.time() == clock.monotonic() == START + 3600


async def test_the_time_stands_still_while_something_computes() -> None:
    computing = Computing()
    clock = computing.clock()
    computing.idle.clear()
    sleeping = asyncio.create_task(clock.sleep(1))
    for _ in range(300):
        await asyncio.sleep(0)
    assert not sleeping.done()
    assert clock.time() == START
    computing.idle.set()
    async with asyncio.timeout(5):
        await sleeping
    assert clock.time() == START + 1


async def test_sleepers_are_woken_one_by_one_in_the_order_of_their_times() -> None:
    clock = Computing().clock()
    order: list[tuple[str, float]] = []

    async def nap(name: str, *times: float) -> None:
        for time in times:
            await clock.sleep(time)
            order.append((name, clock.time() - START))

    async with asyncio.timeout(5):
        await asyncio.gather(nap("a", 5, 5), nap("b", 1, 2, 3), nap("c", 9))
    assert order == [("b", 1), ("b", 3), ("a", 5), ("b", 6), ("c", 9), ("a", 10)]


async def test_a_timeout_rings_when_a_sleep_goes_past_it_and_never_by_itself() -> None:
    clock = Computing().clock()
    async with asyncio.timeout(5):
        with pytest.raises(TimeoutError):
            async with clock.timeout(10):
                await clock.sleep(11)
        async with clock.timeout(10):
            await clock.sleep(9)
        async with clock.timeout(None):
            await clock.sleep(1000)
        async with clock.timeout(1):
            for _ in range(300):
                await asyncio.sleep(0)


async def test_the_time_that_is_set_wakes_whoever_waits_for_an_earlier_one() -> None:
    computing = Computing()
    clock = computing.clock()
    computing.idle.clear()
    sleeping = asyncio.create_task(clock.sleep(10))
    await asyncio.sleep(0)
    clock.set(START + 20)
    async with asyncio.timeout(5):
        await sleeping
    clock.set(0)
    assert clock.time() == 0


async def test_a_sleeper_that_gives_up_does_not_move_the_time() -> None:
    computing = Computing()
    clock = computing.clock()
    computing.idle.clear()
    sleeping = asyncio.create_task(clock.sleep(10))
    await asyncio.sleep(0)
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    computing.idle.set()
    async with asyncio.timeout(5):
        await clock.sleep(1)
    assert clock.time() == START + 1


async def test_what_waits_for_a_wall_time_is_woken_then_and_no_timeout_counts_it() -> None:
    clock = Computing().clock()

    async def wait_and_nap(until: float, seconds: float) -> None:
        async with clock.timeout(10):
            await clock.sleep_until(until)
            assert clock.time() == until
            await clock.sleep(seconds)

    async with asyncio.timeout(5):
        await wait_and_nap(START + 3600, 9)
        with pytest.raises(TimeoutError):
            await wait_and_nap(START + 7200, 11)
        assert clock.time() == START + 7210


async def test_a_wall_time_may_end_what_waits_for_a_later_one() -> None:
    clock = Computing().clock()
    async with asyncio.timeout(5):
        with pytest.raises(TimeoutError):
            async with clock.timeout_at(START + 60):
                await clock.sleep_until(START + 3600)
        assert clock.time() == START + 60


async def test_setting_the_time_ends_what_waits_for_an_earlier_one() -> None:
    clock = Computing().clock()

    async def wait() -> None:
        with pytest.raises(TimeoutError):
            async with clock.timeout(10), clock.timeout_at(START + 60):
                await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    clock.set(START + 59)
    await asyncio.sleep(0)
    assert not waiting.done()
    clock.set(START + 60)
    async with asyncio.timeout(5):
        await waiting
