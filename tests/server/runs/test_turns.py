"""Turns: `concurrency` of a spell."""

from __future__ import annotations

import asyncio

import pytest

from llmspell.errors import LimitBusy
from llmspell.runs.turns import Turns


async def test_no_more_casts_than_allowed_are_under_way_and_the_rest_wait_in_order() -> None:
    turns = Turns(queue=10)
    under_way: list[int] = []
    began: list[int] = []
    most = 0

    async def cast(number: int) -> None:
        nonlocal most
        async with turns.taken("slow", 2):
            began.append(number)
            under_way.append(number)
            most = max(most, len(under_way))
            for _ in range(3):
                await asyncio.sleep(0)
            under_way.remove(number)

    async with asyncio.timeout(5):
        await asyncio.gather(*(cast(number) for number in range(6)))
    assert most == 2
    assert began == list(range(6))


async def test_a_spell_without_a_limit_never_waits() -> None:
    turns = Turns(queue=0)
    async with turns.taken("free", None), turns.taken("free", None):
        pass


async def test_more_than_the_queue_holds_are_refused_with_when_to_try_again() -> None:
    turns = Turns(queue=0)
    async with turns.taken("slow", 1):
        with pytest.raises(LimitBusy) as refused:
            async with turns.taken("slow", 1):
                pass
    assert refused.value.data == {"retry_after": 1, "limit": "concurrency"}
    async with turns.taken("slow", 1):
        pass


async def test_a_waiter_that_leaves_takes_no_turn_with_it() -> None:
    turns = Turns(queue=5)

    async def wait() -> None:
        async with turns.taken("slow", 1):
            pass

    async with turns.taken("slow", 1):
        waiter = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
    async with asyncio.timeout(5), turns.taken("slow", 1):
        pass
