"""The pace of crowds: one of them goes on in each turn of the event loop, in order."""

from __future__ import annotations

import asyncio

from llmspell.runs.pacing import Pace
from tests.support.turns import Turns


async def test_crowds_go_on_one_after_the_other_and_none_twice_in_a_row() -> None:
    pace, went = Pace(), list[str]()

    async def crowd(name: str) -> None:
        for _ in range(3):
            await pace.turn()
            went.append(name)

    async with asyncio.timeout(5):
        await asyncio.gather(crowd("a"), crowd("b"), crowd("c"))
    assert went == ["a", "b", "c"] * 3


async def test_many_crowds_have_no_more_of_a_turn_than_one() -> None:
    pace, turns = Pace(), Turns()

    async def crowd() -> None:
        for _ in range(5):
            await pace.turn()
            turns.happens()

    async with asyncio.timeout(5):
        with turns.counted():
            await asyncio.gather(*(crowd() for _ in range(100)))
    assert turns.most <= 2


async def test_who_leaves_holds_up_nobody() -> None:
    pace = Pace()
    leaver, stayer = (asyncio.ensure_future(pace.turn()) for _ in range(2))
    await asyncio.sleep(0)
    leaver.cancel()
    async with asyncio.timeout(5):
        await stayer
        await pace.turn()  # nor who comes when everybody has gone
    assert leaver.cancelled()
