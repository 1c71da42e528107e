"""Timeouts behind one timer: each does what `asyncio.timeout` does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from llmspell.deadlines import Deadlines, Timeout

NEVER = 3600.0
SOON = 0.01

TimeoutOf = Callable[[float], AbstractAsyncContextManager[object]]


@pytest.fixture(params=["ours", "asyncio"])
async def timeout(request: pytest.FixtureRequest) -> TimeoutOf:
    if request.param == "asyncio":
        return asyncio.timeout
    deadlines = Deadlines(asyncio.get_running_loop())
    return lambda seconds: Timeout(deadlines, seconds)


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_what_takes_longer_ends_with_a_timeout_error(timeout: TimeoutOf) -> None:
    for seconds in (SOON, 0, -1):
        with pytest.raises(TimeoutError):
            async with timeout(seconds):
                await forever()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_what_is_done_in_time_goes_on(timeout: TimeoutOf) -> None:
    async with timeout(NEVER):
        await asyncio.sleep(0)
    with pytest.raises(KeyError):
        async with timeout(NEVER):
            raise KeyError


async def test_who_is_canceled_is_canceled_and_not_late(timeout: TimeoutOf) -> None:
    entered = asyncio.Event()

    async def body() -> None:
        async with timeout(NEVER):
            entered.set()
            await forever()

    task = asyncio.ensure_future(body())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_is_late_and_canceled_at_once_is_canceled(timeout: TimeoutOf) -> None:
    async def body() -> None:
        async with timeout(SOON):
            try:
                await forever()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()  # as if by somebody else, before the timeout has told
                raise

    task = asyncio.ensure_future(body())
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(10):
            await task


async def test_of_two_that_are_nested_the_one_that_is_late_tells(timeout: TimeoutOf) -> None:
    told: list[str] = []
    async with timeout(NEVER):
        try:
            async with timeout(SOON):
                await forever()
        except TimeoutError:
            told.append("inner")
        await asyncio.sleep(0)

    async def outer() -> None:
        async with timeout(SOON):
            try:
                async with timeout(NEVER):
                    await forever()
            except TimeoutError:
                told.append("never")

    with pytest.raises(TimeoutError):
        await outer()
    assert told == ["inner"]


async def test_an_error_of_the_body_is_not_hidden_by_the_timeout(timeout: TimeoutOf) -> None:
    async def body() -> None:
        async with timeout(SOON):
            try:
                await forever()
            except asyncio.CancelledError:
                raise KeyError from None

    with pytest.raises(KeyError):
        await body()


async def test_each_of_many_is_late_in_its_own_time(timeout: TimeoutOf) -> None:
    late: list[int] = []

    async def one(number: int) -> None:
        try:
            async with timeout(number / 100):
                await forever()
        except TimeoutError:
            late.append(number)

    async def quick() -> None:
        async with timeout(0.015):
            await asyncio.sleep(0)

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for number in (5, 1, 3, 4, 2):
            group.create_task(one(number))
            group.create_task(quick())
    assert late == [1, 2, 3, 4, 5]
