"""Work that is done to its end although whoever waits for it is stopped."""

from __future__ import annotations

import asyncio

import pytest

from llmspell.runs.stop import unbroken


async def test_work_that_is_waited_for_is_done_to_its_end_before_a_cancellation_goes_on() -> None:
    begun, may_end, done = asyncio.Event(), asyncio.Event(), list[str]()

    async def work() -> None:
        begun.set()
        await may_end.wait()
        done.append("work")

    async def wait() -> None:
        try:
            await unbroken(work())
        finally:
            done.append("waiter")

    waiter = asyncio.create_task(wait())
    async with asyncio.timeout(5):
        await begun.wait()
        for _ in range(3):  # however often
            waiter.cancel()
            await asyncio.sleep(0)
        assert done == []
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await waiter
    assert done == ["work", "waiter"]


@pytest.mark.parametrize("is_canceled", [False, True])
async def test_work_that_fails_says_so_to_a_canceled_waiter_too(is_canceled: bool) -> None:
    may_end = asyncio.Event()

    async def fail() -> None:
        await may_end.wait()
        raise ValueError("broken")

    waiter = asyncio.create_task(unbroken(fail()))
    await asyncio.sleep(0)
    if is_canceled:
        waiter.cancel()
        await asyncio.sleep(0)
    may_end.set()
    async with asyncio.timeout(5):
        with pytest.raises(ValueError, match="broken"):
            await waiter
