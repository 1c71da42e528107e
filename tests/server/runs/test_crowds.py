"""Thousands of effects at once, with real Lua: a few of them in each turn of the event loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from llmspell.clock import SystemClock
from llmspell.effects.effect import Effect, ReadState
from llmspell.errors import LimitWallClock
from llmspell.runs.journal import Journal
from llmspell.runs.pacing import AT_ONCE, Pace
from llmspell.runs.parking import Tree
from llmspell.runs.scripting import Perform, ScriptSession
from llmspell.runtime.engine import Program, ScriptContext, ScriptLimits
from llmspell.runtime.lua.engine import LuaEngine
from llmspell.state.memory import MemoryStore
from llmspell.values import JSON
from tests.support.turns import Turns

COUNT = 1500
SOURCE = """
local function crowd(count)
  local branches = {}
  for number = 1, count do branches[number] = function() return State.get("k" .. number) end end
  return #parallel(branches)
end
local function loop() while true do end end
return { crowd, loop }
"""
CROWDS = 3

LIMITS = ScriptLimits(slice_seconds=0.3)


@asynccontextmanager
async def opened(count: int) -> AsyncGenerator[tuple[list[ScriptSession], JSON]]:
    """Yield sessions of so many scripts of one pace, loaded, and what their file declares."""
    engine = LuaEngine(idle_workers=1, max_workers=count + 1)
    program = Program("spells/t.lua", SOURCE.encode(), version="1")
    pace = Pace()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.close)
        declaration = (await engine.load(program, LIMITS)).declaration
        sessions: list[ScriptSession] = []
        for number in range(count):
            script = await engine.open(program, LIMITS, ScriptContext())
            journal = Journal(str(number), MemoryStore(), SystemClock(), limit=COUNT)
            session = ScriptSession(script, journal, Tree(lambda _: None), pace)
            stack.push_async_callback(session.close)
            session.load(declaration)
            sessions.append(session)
        async with asyncio.timeout(20):
            yield sessions, declaration


def crowd(session: ScriptSession, declaration: JSON, perform: Perform) -> asyncio.Future[JSON]:
    """Call the function that asks for `COUNT` effects at once."""
    return asyncio.ensure_future(
        session.call(declaration[0], (COUNT,), with_context=False, path="", perform=perform)
    )


class Performing:
    """Performs nothing: counts who begins, who is ended, and lets them wait until they may go."""

    def __init__(self, count: int) -> None:
        self.begun, self.ended = Turns(), Turns()
        self.keys: list[str] = []
        self.all_begun = asyncio.Event()
        self.may_go = asyncio.Event()
        self._left = count

    async def perform(self, effect: Effect, key: str, *, is_counted: bool = True) -> JSON:
        assert isinstance(effect, ReadState)
        if is_counted:
            self.begun.happens()
        self.keys.append(effect.key)
        self._left -= 1
        if not self._left:
            self.all_begun.set()
        try:
            await self.may_go.wait()
        except asyncio.CancelledError:
            self.ended.happens()
            raise
        return [1, "1"]


async def test_crowds_of_several_casts_are_begun_as_slowly_as_one() -> None:
    performing, begun = Performing(CROWDS * COUNT), Counter[int]()

    def of_crowd(number: int) -> Perform:
        async def perform(effect: Effect, key: str) -> JSON:
            begun[number] += 1
            # The first few of each do not wait for their turn.
            is_counted = len(begun) == CROWDS and min(begun.values()) > AT_ONCE
            return await performing.perform(effect, key, is_counted=is_counted)

        return perform

    async with opened(CROWDS) as (sessions, declaration):
        with performing.begun.counted():
            calls = [crowd(each, declaration, of_crowd(at)) for at, each in enumerate(sessions)]
            await performing.all_begun.wait()
        performing.may_go.set()
        assert await asyncio.gather(*calls) == [COUNT] * CROWDS
    assert performing.begun.most <= 2 * AT_ONCE


async def test_the_effects_of_a_crowd_are_begun_in_the_order_they_were_asked_for() -> None:
    performing = Performing(COUNT)
    performing.may_go.set()
    async with opened(1) as ([session], declaration):
        assert await crowd(session, declaration, performing.perform) == COUNT
    assert performing.keys == [f"k{number}" for number in range(1, COUNT + 1)]


async def test_another_goes_on_while_a_crowd_is_being_begun() -> None:
    performing = Performing(COUNT)
    began = asyncio.Event()

    async def perform(effect: Effect, key: str) -> JSON:
        began.set()
        return await performing.perform(effect, key)

    async with opened(1) as ([session], declaration):
        call = crowd(session, declaration, perform)
        await began.wait()
        for _ in range(COUNT // AT_ONCE // 4):  # what another cast takes, and more
            await asyncio.sleep(0)
        assert not performing.all_begun.is_set()
        performing.may_go.set()
        assert await call == COUNT


async def test_the_effects_of_who_leaves_are_ended_a_few_at_a_time() -> None:
    performing = Performing(COUNT)
    async with opened(1) as ([session], declaration):
        call = crowd(session, declaration, performing.perform)
        await performing.all_begun.wait()
        with performing.ended.counted():
            call.cancel()
            await asyncio.wait([call])
            await session.close()
    assert 0 < performing.ended.most <= 4 * AT_ONCE


async def test_the_effects_of_a_script_that_is_gone_are_ended_a_few_at_a_time() -> None:
    performing = Performing(COUNT)
    async with opened(1) as ([session], declaration):
        call = crowd(session, declaration, performing.perform)
        await performing.all_begun.wait()
        with performing.ended.counted():
            with pytest.raises(LimitWallClock):
                await session.call(
                    declaration[1], (), with_context=False, path="", perform=performing.perform
                )
            with pytest.raises(LimitWallClock):
                await call
            await session.close()
    assert 0 < performing.ended.most <= 4 * AT_ONCE
