"""The clocks: a test's own stands still until it is moved, and the machine's goes by itself."""

from __future__ import annotations

import asyncio

import pytest

from llmspell.clock import WOKEN_AT_ONCE, Clock, ManualClock, SystemClock
from tests.support.turns import Turns


def sleepers(
    clock: ManualClock, log: list[tuple[str, float]], **seconds: float
) -> asyncio.Task[None]:
    """Begin one sleeper for each name, and return the task that ends with the last."""

    async def one(name: str, duration: float) -> None:
        await clock.sleep(duration)
        log.append((name, clock.time()))

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for name, duration in seconds.items():
                group.create_task(one(name, duration))

    return asyncio.get_running_loop().create_task(all_of_them())


async def test_sleepers_wake_in_the_order_of_their_times_each_at_its_own() -> None:
    clock, log = ManualClock(start=0), list[tuple[str, float]]()
    everyone = sleepers(clock, log, late=30, early=10, middle=20)
    await clock.sleeper()
    await clock.advance(60)
    await everyone
    assert log == [("early", 10), ("middle", 20), ("late", 30)]
    assert clock.time() == 60


async def test_sleepers_of_the_same_moment_wake_in_the_order_they_fell_asleep() -> None:
    clock, log = ManualClock(start=0), list[tuple[str, float]]()
    everyone = sleepers(clock, log, first=10, second=10, third=10)
    await clock.sleeper()
    await clock.advance(10)
    await everyone
    assert [name for name, _ in log] == ["first", "second", "third"]


async def test_nobody_wakes_before_the_time_has_come() -> None:
    clock, log = ManualClock(start=0), list[tuple[str, float]]()
    everyone = sleepers(clock, log, only=10)
    await clock.sleeper()
    await clock.advance(9.999)
    assert log == []
    await clock.advance(0.001)
    await everyone
    assert [name for name, _ in log] == ["only"]


async def test_who_sleeps_again_while_a_day_passes_wakes_again_the_same_day() -> None:
    clock, hours = ManualClock(start=0), list[float]()

    async def every_hour() -> None:
        for _ in range(24):
            await clock.sleep(3600)
            hours.append(clock.time() / 3600)

    task = asyncio.get_running_loop().create_task(every_hour())
    await clock.sleeper()
    await clock.advance(86_400)
    await task
    assert hours == list(range(1, 25))


async def test_sleeping_for_no_time_returns_without_an_advance() -> None:
    clock = ManualClock()
    async with asyncio.timeout(5):
        await clock.sleep(0)
        await clock.sleep(-1)


async def test_a_sleeper_that_was_cancelled_does_not_hold_up_the_others() -> None:
    clock, log = ManualClock(start=0), list[tuple[str, float]]()
    gone = sleepers(clock, log, gone=5)
    stays = sleepers(clock, log, stays=10)
    await clock.sleeper()
    gone.cancel()
    await asyncio.wait([gone])
    await clock.advance(10)
    await stays
    assert log == [("stays", 10)]


async def test_a_body_that_takes_longer_than_its_timeout_is_ended() -> None:
    clock = ManualClock()

    async def slow() -> None:
        async with clock.timeout(10):
            await asyncio.Event().wait()

    task = asyncio.get_running_loop().create_task(slow())
    await clock.sleeper()
    await clock.advance(9)
    assert not task.done()
    await clock.advance(1)
    async with asyncio.timeout(5):
        with pytest.raises(TimeoutError):
            await task


async def test_a_body_that_ends_in_time_leaves_no_alarm_behind() -> None:
    clock = ManualClock()
    async with clock.timeout(10):
        await asyncio.sleep(0)
    await clock.advance(86_400)
    await asyncio.sleep(0)


async def test_a_timeout_of_none_never_ends_its_body() -> None:
    clock, log = ManualClock(start=0), list[tuple[str, float]]()
    async with clock.timeout(None):
        everyone = sleepers(clock, log, late=1e9)
        await clock.sleeper()
        await clock.advance(1e9)
        await everyone
    assert [name for name, _ in log] == ["late"]


async def test_the_inner_of_two_timeouts_is_the_one_that_ends_its_body() -> None:
    clock, ended = ManualClock(), list[str]()
    inner_ended = asyncio.Event()

    async def nested() -> None:
        async with clock.timeout(100):
            try:
                async with clock.timeout(10):
                    await asyncio.Event().wait()
            except TimeoutError:
                ended.append("inner")
                inner_ended.set()
            await clock.sleep(10)
        ended.append("outer body")

    task = asyncio.get_running_loop().create_task(nested())
    await clock.sleeper()
    await clock.advance(10)
    async with asyncio.timeout(5):
        await inner_ended.wait()
    await asyncio.sleep(0)
    await clock.advance(10)
    async with asyncio.timeout(5):
        await task
    assert ended == ["inner", "outer body"]


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock()])
async def test_no_clock_goes_back(clock: Clock) -> None:
    before = clock.monotonic()
    await clock.sleep(0)
    assert clock.monotonic() >= before
    assert clock.time() > 1_600_000_000


async def test_the_machines_clock_ends_what_takes_too_long() -> None:
    with pytest.raises(TimeoutError):
        async with SystemClock().timeout(0.01):
            await asyncio.Event().wait()


async def test_waiting_for_sleepers_counts_timeouts_and_nobody_who_has_gone() -> None:
    clock, log = ManualClock(), list[tuple[str, float]]()
    gone = sleepers(clock, log, gone=10)
    await clock.sleeper()
    gone.cancel()
    await asyncio.wait([gone])
    waiting = asyncio.ensure_future(clock.sleeper(2))
    async with clock.timeout(10):
        await asyncio.sleep(0)
        assert not waiting.done()
        one = sleepers(clock, log, one=5)
        async with asyncio.timeout(5):
            await waiting
        await clock.advance(5)
        await one
    assert [name for name, _ in log] == ["one"]


async def test_setting_a_manual_clock_changes_the_wall_time_and_wakes_nobody() -> None:
    clock = ManualClock(1000.0)
    sleeper = asyncio.ensure_future(clock.sleep(60))
    await clock.sleeper()
    clock.step(86_400)
    assert (clock.time(), clock.monotonic()) == (87_400.0, 1000.0)
    await asyncio.sleep(0)
    assert not sleeper.done()
    clock.step(-100_000)
    await clock.advance(60)
    async with asyncio.timeout(5):
        await sleeper
    assert clock.time() == 1000.0 + 86_400 - 100_000 + 60


async def test_a_wall_time_that_is_over_is_not_waited_for() -> None:
    for clock in (SystemClock(), ManualClock()):
        async with asyncio.timeout(5):
            await clock.sleep_until(clock.time() - 1)
            with pytest.raises(TimeoutError):
                async with clock.timeout_at(clock.time() - 1):
                    await asyncio.Event().wait()


async def test_the_machines_clock_wakes_at_a_wall_time() -> None:
    clock = SystemClock()
    until = clock.time() + 0.01
    async with asyncio.timeout(5):
        await clock.sleep_until(until)
        assert clock.time() >= until
        async with clock.timeout_at(clock.time() + 60):
            await asyncio.sleep(0)


async def test_a_manual_clock_ends_what_waits_for_a_wall_time() -> None:
    clock = ManualClock(start=0)

    async def wait() -> None:
        with pytest.raises(TimeoutError):
            async with clock.timeout_at(60):
                await clock.sleep_until(90)

    waiting = asyncio.create_task(wait())
    await clock.sleeper(2)
    await clock.advance(59)
    assert not waiting.done()
    await clock.advance(1)
    await waiting


async def test_the_machines_clock_wakes_those_who_are_due_at_once_a_few_at_a_time() -> None:
    clock, turns, woken = SystemClock(), Turns(), list[int]()
    due = clock.time() + 1.0  # all are asleep by then, however slow the machine is

    async def sleeper(number: int) -> None:
        await (clock.sleep_until(due) if number % 2 else clock.sleep(due - clock.time()))
        turns.happens()
        woken.append(number)

    async with asyncio.timeout(5):
        with turns.counted():
            await asyncio.gather(*map(sleeper, range(500)))
    assert sorted(woken) == list(range(500))
    assert turns.most <= 2 * WOKEN_AT_ONCE


async def test_who_no_longer_sleeps_holds_up_nobody_who_does() -> None:
    clock = SystemClock()
    sleepers = [asyncio.ensure_future(clock.sleep(0.01)) for _ in range(3 * WOKEN_AT_ONCE)]
    await asyncio.sleep(0)
    for sleeper in sleepers[1:]:
        sleeper.cancel()
    async with asyncio.timeout(5):
        await sleepers[0]
        await clock.sleep(0.001)


def test_one_clock_serves_one_event_loop_after_the_other() -> None:
    clock = SystemClock()

    async def leave() -> None:
        for _ in range(3 * WOKEN_AT_ONCE):
            asyncio.ensure_future(clock.sleep(0.001))  # noqa: RUF006  # they are left behind
        await clock.sleep(0.001)

    async def sleep() -> None:
        async with asyncio.timeout(5):
            await clock.sleep(0.001)

    asyncio.run(leave())
    asyncio.run(sleep())
