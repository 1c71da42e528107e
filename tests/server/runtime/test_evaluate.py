"""`Script.evaluate`: further texts in the state of a script, each a task of its own."""

from __future__ import annotations

from typing import Any

import pytest

from llmspell.runtime.engine import Finished, Program, Requested, Script
from tests.support.lua_scripts import Bench

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def opened(lua: Bench) -> Script:
    script = await lua.open("return {}")
    script.load()
    await script.exchange()
    return script


def text(source: str, **modules: str) -> Program:
    packed = {name: module.encode() for name, module in modules.items()}
    return Program("cell", source.encode(), packed)


async def finished(script: Script, program: Program, *, now: float = 0.0) -> tuple[bool, Any]:
    task = script.evaluate(program, now=now)
    (event,) = await script.exchange()
    assert isinstance(event, Finished)
    assert event.task == task
    return event.ok, event.value


async def test_a_text_sees_the_globals_of_those_before_it(lua: Bench) -> None:
    script = await opened(lua)
    assert await finished(script, text("x = 20 local y = 1")) == (True, None)
    assert await finished(script, text("return { x + 22, y == nil }")) == (True, [42, True])
    await script.close()


async def test_a_text_that_fails_leaves_the_state_as_it_is(lua: Bench) -> None:
    script = await opened(lua)
    await finished(script, text("x = 1"))
    ok, error = await finished(script, text("\nx = 2 error 'late'"))
    assert (ok, error["message"], error["where"]) == (False, "late", "cell:2")
    ok, error = await finished(script, text("\nx = = 3"))
    assert (ok, error["code"], error["where"]) == (False, "spec.syntax", "cell:2")
    ok, error = await finished(script, text("\x1bLua"))
    assert (ok, error["code"]) == (False, "spec.syntax")
    assert await finished(script, text("return x")) == (True, 2)
    await script.close()


async def test_a_text_may_wait_for_effects_and_has_a_time_and_a_path(lua: Bench) -> None:
    script = await opened(lua)
    task = script.evaluate(text("local n = now() sleep(1) return { n, now() }"), path="7", now=50.0)
    (request,) = await script.exchange()
    assert isinstance(request, Requested)
    assert (request.task, request.key) == (task, "7:1")
    script.answer(request.call, ok=True, value=None, now=60.0)
    assert await script.exchange() == [Finished(task, True, [50.0, 60.0])]
    await script.close()


async def test_modules_of_a_text_are_added_and_those_known_stay(lua: Bench) -> None:
    script = await opened(lua)
    assert await finished(script, text("return require 'm'", m="return 1")) == (True, 1)
    later = text("return { require 'm', require 'n' }", m="return 2", n="return 3")
    assert await finished(script, later) == (True, [1, 3])
    await script.close()
