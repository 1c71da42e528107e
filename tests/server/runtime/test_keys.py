"""The keys of effects: where in the run each is asked for, the same in every run."""

from __future__ import annotations

from typing import Any

import pytest

from llmspell.runtime.engine import Finished, Loaded, Requested
from llmspell.values import FunctionRef
from tests.support.lua_scripts import Bench

pytestmark = pytest.mark.asyncio(loop_scope="module")


def answer_all(operation: str, arguments: Any) -> Any:
    match operation:
        case "step.begin":
            return {"recorded": False}
        case "state.get":
            return [None, None]
        case _:
            return None


async def keys_of(lua: Bench, body: str) -> list[str]:
    outcome = await lua.body(body, answer=answer_all)
    assert outcome.ok, outcome.value
    return outcome.keys


async def test_effects_are_numbered_in_the_order_they_are_asked_for(lua: Bench) -> None:
    assert await keys_of(lua, "State.get 'a' sleep(1) print 'x'") == [":1", ":2", ":3"]


async def test_the_keys_of_a_call_begin_with_its_path(lua: Bench) -> None:
    script = await lua.open("return function() State.get 'a' end")
    script.load()
    script.call(FunctionRef(1), [], with_context=False, path=":4.2")
    script.call(FunctionRef(1), [], with_context=False)
    events = await script.exchange()
    assert [event.key for event in events if isinstance(event, Requested)] == [":4.2:1", ":1"]
    await script.close()


async def test_a_file_that_runs_by_itself_has_the_empty_path(lua: Bench) -> None:
    script = await lua.open("sleep(1)")
    script.main(None)
    (event,) = await script.exchange()
    assert isinstance(event, Requested)
    assert event.key == ":1"
    await script.close()


async def test_branches_count_by_themselves(lua: Bench) -> None:
    body = """
    local function twice() sleep(1) sleep(2) end
    sleep(0)
    parallel { twice, function() parallel { twice } sleep(3) end }
    parallel { twice }
    sleep(4)
    """
    assert sorted(await keys_of(lua, body)) == sorted(
        [":1", "/1.1:1", "/1.1:2", "/1.2/1.1:1", "/1.2/1.1:2", "/1.2:1", "/2.1:1", "/2.1:2", ":2"]
    )


async def test_the_keys_of_branches_do_not_depend_on_who_is_answered_first(lua: Bench) -> None:
    source = """
        return function()
          parallel {
            function() State.get 'a' State.get 'b' end,
            function() State.get 'c' State.get 'd' end,
          }
          State.get 'e'
        end
    """

    async def seen(*, reverse: bool) -> dict[str, str]:
        script = await lua.open(source)
        script.load()
        script.call(FunctionRef(1), [], with_context=False)
        found: dict[str, str] = {}
        while True:
            events = await script.exchange()
            if any(isinstance(event, Finished) for event in events):
                await script.close()
                return found
            requests = [event for event in events if isinstance(event, Requested)]
            assert requests or any(isinstance(event, Loaded) for event in events)
            for request in sorted(requests, key=lambda r: r.call, reverse=reverse):
                found[request.arguments["key"]] = request.key
                script.answer(request.call, ok=True, value=[None, None], now=1.0)

    expected = {"a": "/1.1:1", "b": "/1.1:2", "c": "/1.2:1", "d": "/1.2:2", "e": ":1"}
    assert await seen(reverse=False) == expected
    assert await seen(reverse=True) == expected


async def test_what_is_asked_in_a_generator_counts_in_its_task(lua: Bench) -> None:
    body = """
    local turns = coroutine.wrap(function()
      for i = 1, 2 do coroutine.yield(State.get('k' .. i)) end
    end)
    turns() sleep(1) turns()
    """
    assert await keys_of(lua, body) == [":1", ":2", ":3"]


async def test_random_numbers_depend_on_the_path_and_not_on_the_number_of_the_call(
    lua: Bench,
) -> None:
    source = "return function() return { random(), uuid() } end"

    async def drawn(*paths: str) -> list[Any]:
        script = await lua.open(source)
        script.load()
        for path in paths:
            script.call(FunctionRef(1), [], with_context=False, path=path)
        events = await script.exchange()
        await script.close()
        return [event.value for event in events if isinstance(event, Finished)]

    first, second, third = await drawn("a", "b", "a")
    assert first == third != second
    assert await drawn("b") == [second]
