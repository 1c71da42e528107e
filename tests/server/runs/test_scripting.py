"""A script session, with real Lua: each call has its own performer, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from llmspell.clock import SystemClock
from llmspell.effects.effect import Effect, ReadState, Record, Sleep
from llmspell.errors import LimitHistory, LimitWallClock, SpecUnstable, SpellRaised, StateConflict
from llmspell.runs.journal import Journal
from llmspell.runs.pacing import Pace
from llmspell.runs.parking import Tree
from llmspell.runs.scripting import Perform, ScriptSession
from llmspell.runtime.engine import Program, ScriptContext, ScriptLimits
from llmspell.runtime.lua.engine import LuaEngine
from llmspell.state.memory import MemoryStore
from llmspell.values import JSON, FunctionRef

SOURCE = """
local function read(key) return (State.get(key)) end
local function wait() sleep(1) return "woke" end
local function both()
  return parallel { function() return State.get "a" end, function() return State.get "b" end }
end
local function loop() while true do end end
local function tell()
  local ok, problem = pcall(State.get, "x")
  return { code = problem.code, message = problem.message }
end
return { read, wait, both, loop, tell }
"""

LIMITS = ScriptLimits(slice_seconds=0.3)


@asynccontextmanager
async def opened(source: str = SOURCE) -> AsyncGenerator[tuple[ScriptSession, JSON]]:
    """Yield a session of a fresh script, and what its file declares."""
    engine = LuaEngine(idle_workers=1, max_workers=4)
    program = Program("spells/t.lua", source.encode(), version="1")
    declaration = (await engine.load(program, LIMITS)).declaration
    script = await engine.open(program, LIMITS, ScriptContext())
    journal = Journal("r", MemoryStore(), SystemClock(), limit=1000)
    session = ScriptSession(script, journal, Tree(lambda _: None), Pace())
    try:
        async with asyncio.timeout(15):
            yield session, declaration
    finally:
        await session.close()
        await engine.close()


def answering(answer: Callable[[Effect], Any]) -> Perform:
    """Return a performer that answers every effect with `answer(effect)`."""

    async def perform(effect: Effect, key: str) -> Any:
        return answer(effect)

    return perform


def reading(name: str) -> Perform:
    """Return a performer that reads every key as `name` and the key."""

    async def perform(effect: Effect, key: str) -> Any:
        assert isinstance(effect, ReadState)
        return [name + effect.key, "1"]

    return perform


async def refuse(effect: Effect, key: str) -> Any:
    raise AssertionError(f"nothing was to be performed: {effect}")


async def test_a_call_gives_the_result_of_its_function() -> None:
    async with opened() as (session, declaration):
        session.load(declaration)
        read: FunctionRef = declaration[0]
        perform = answering(lambda effect: [f"the {effect}", "1"])
        result = await session.call(read, ("k",), with_context=False, path="", perform=perform)
    assert result == f"the {ReadState(scope='spell', key='k')}"


async def test_a_file_that_declares_something_else_than_before_is_not_cast() -> None:
    async with opened() as (session, declaration):
        session.load([*declaration, "more"])
        with pytest.raises(SpecUnstable):
            await session.call(declaration[0], ("k",), with_context=False, path="", perform=refuse)


async def test_each_call_has_its_effects_performed_by_its_own_performer() -> None:
    async with opened() as (session, declaration):
        session.load(declaration)
        results = await asyncio.gather(
            *(
                session.call(
                    declaration[2],
                    (),
                    with_context=False,
                    path="",
                    perform=reading(name),
                )
                for name in ("one ", "two ")
            )
        )
    assert results == [["one a", "one b"], ["two a", "two b"]]


@pytest.mark.parametrize("first_is_alone", [False, True])
async def test_who_leaves_a_call_ends_its_effects_and_no_others(first_is_alone: bool) -> None:
    begun, ended = asyncio.Queue[str](), list[str]()
    go = asyncio.Event()

    def performer(name: str) -> Perform:
        async def perform(effect: Effect, key: str) -> None:
            assert isinstance(effect, Sleep)
            begun.put_nowait(name)
            try:
                await go.wait()
            except asyncio.CancelledError:
                ended.append(name)
                raise

        return perform

    async with opened() as (session, declaration):
        session.load(declaration)
        leaves = asyncio.ensure_future(
            session.call(
                declaration[1],
                (),
                with_context=False,
                path="",
                perform=performer("leaves"),
                is_first=first_is_alone,
            )
        )
        if first_is_alone:
            assert await begun.get() == "leaves"
            begun.put_nowait("leaves")
        stays = asyncio.ensure_future(
            session.call(
                declaration[1], (), with_context=False, path="", perform=performer("stays")
            )
        )
        assert {await begun.get(), await begun.get()} == {"leaves", "stays"}
        leaves.cancel()
        await asyncio.wait([leaves])
        await asyncio.sleep(0)
        assert ended == ["leaves"]
        go.set()
        assert await stays == "woke"


async def test_who_comes_while_the_first_call_waits_has_a_result_before_and_after_its_end() -> None:
    waits = asyncio.Event()

    async def wait(effect: Effect, key: str) -> None:
        await waits.wait()

    async with opened() as (session, declaration):
        session.load(declaration)
        first = asyncio.ensure_future(
            session.call(
                declaration[1], (), with_context=False, path="", perform=wait, is_first=True
            )
        )

        async def second() -> JSON:
            return await session.call(
                declaration[2], (), with_context=False, path="x", perform=reading("two ")
            )

        assert await second() == ["two a", "two b"]
        waits.set()
        assert await first == "woke"
        assert await second() == ["two a", "two b"]


async def test_a_script_that_is_ended_fails_everybody_who_waits_for_it() -> None:
    async with opened() as (session, declaration):
        session.load(declaration)

        async def never(effect: Effect, key: str) -> None:
            await asyncio.Event().wait()

        waiting = asyncio.ensure_future(
            session.call(declaration[1], (), with_context=False, path="", perform=never)
        )
        with pytest.raises(LimitWallClock):
            await session.call(declaration[3], (), with_context=False, path="", perform=refuse)
        with pytest.raises(LimitWallClock):
            await waiting
        with pytest.raises(LimitWallClock):
            await session.call(declaration[0], ("k",), with_context=False, path="", perform=refuse)


async def test_an_error_of_an_effect_is_one_the_script_can_catch() -> None:
    async def conflict(effect: Effect, key: str) -> None:
        raise StateConflict("changed meanwhile")

    async with opened() as (session, declaration):
        session.load(declaration)
        told = await session.call(declaration[4], (), with_context=False, path="", perform=conflict)
        assert told["code"] == "state.conflict"
        assert "changed meanwhile" in told["message"]
        with pytest.raises(StateConflict):
            await session.call(
                declaration[0], ("k",), with_context=False, path="", perform=conflict
            )


async def test_a_fault_of_ours_does_not_leave_the_script_waiting() -> None:
    async def faulty(effect: Effect, key: str) -> None:
        raise ZeroDivisionError

    async with opened() as (session, declaration):
        session.load(declaration)
        told = await session.call(declaration[4], (), with_context=False, path="", perform=faulty)
    assert told["code"] == "internal"


async def test_a_result_that_cannot_cross_is_an_error_in_the_script() -> None:
    async with opened() as (session, declaration):
        session.load(declaration)
        perform = answering(lambda effect: ["x" * (LIMITS.message_bytes + 1), "1"])
        told = await session.call(declaration[4], (), with_context=False, path="", perform=perform)
    assert told["code"] == "output.too_large"


async def test_what_a_function_raises_is_raised_to_its_caller() -> None:
    source = "return { function() error { code = 'a.b', message = 'no' } end }"
    async with opened(source) as (session, declaration):
        session.load(declaration)
        with pytest.raises(SpellRaised, match="no") as caught:
            await session.call(declaration[0], (), with_context=False, path="", perform=refuse)
    assert caught.value.data["code"] == "a.b"
    assert caught.value.where == "spells/t.lua:1"


async def test_what_a_function_raises_is_freed_without_the_garbage_collector() -> None:
    async with opened("return { function() error 'no' end }") as (session, declaration):
        session.load(declaration)
        gc.disable()
        try:
            raised = await _raised(session, declaration[0])
            await asyncio.sleep(0)  # the loop lets go of what woke this task
            assert raised() is None
        finally:
            gc.enable()


async def _raised(session: ScriptSession, function: FunctionRef) -> weakref.ref[SpellRaised]:
    try:
        await session.call(function, (), with_context=False, path="", perform=refuse)
    except SpellRaised as error:
        return weakref.ref(error)
    raise AssertionError("nothing was raised")


async def test_a_file_may_be_run_itself_with_effects_allowed() -> None:
    source = "local got = State.get 'k'\nreturn { got = got }"
    engine = LuaEngine(idle_workers=1, max_workers=1)
    program = Program("chunk", source.encode(), version="1")
    script = await engine.open(program, LIMITS, ScriptContext())
    journal = Journal("r", MemoryStore(), SystemClock(), limit=1000)
    session = ScriptSession(script, journal, Tree(lambda _: None), Pace())
    try:
        async with asyncio.timeout(15):
            ended = await session.main({}, perform=answering(lambda effect: [7, "1"]))
    finally:
        await session.close()
        await engine.close()
    assert ended["returned"] == {"got": 7}


TALKS = """
local function talk()
  local told = {}
  for i = 1, 3 do
    local ok, problem = pcall(Log.info, "line " .. i)
    told[i] = ok or problem.code
  end
  return told
end
return { talk }
"""


async def test_what_a_script_says_needs_no_task_and_is_told_in_order() -> None:
    lines: list[str] = []

    async def perform(effect: Effect, key: str) -> None:
        assert isinstance(effect, Record)
        assert asyncio.current_task() is caller  # no other was made for it
        lines.append(effect.data["message"])
        if len(lines) == 2:
            raise LimitHistory("no more of that")

    async with opened(TALKS) as (session, declaration):
        session.load(declaration)
        caller = asyncio.current_task()
        told = await session.call(
            declaration[0], (), with_context=False, path="", perform=perform, is_first=True
        )
    assert lines == ["line 1", "line 2", "line 3"]
    assert told == [True, LimitHistory.code, True]


async def test_a_performer_that_lets_a_record_wait_is_at_fault_and_the_script_is_told() -> None:
    async def perform(effect: Effect, key: str) -> None:
        await asyncio.sleep(0)

    async with opened(TALKS) as (session, declaration):
        session.load(declaration)
        told = await session.call(declaration[0], (), with_context=False, path="", perform=perform)
    assert told == ["internal"] * 3
