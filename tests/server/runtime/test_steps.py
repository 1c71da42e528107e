"""`ctx:step`, `ctx:ask`, `ctx:continue_as_new`: what a run that goes on later is made of."""

from __future__ import annotations

from typing import Any

import pytest

from llmspell.errors import AskDeclined, LlmspellError
from llmspell.runtime.engine import Requested
from llmspell.values import JSON, FunctionRef
from tests.support.lua_scripts import Answer, Bench

pytestmark = pytest.mark.asyncio(loop_scope="module")

STEPS = """
local drawn = {}
local a = ctx:step("first", function()
  sleep(1)
  drawn[1] = random()
  return { got = (State.get "a"), list = json.array {} }
end)
drawn[#drawn + 1] = random()
local b = ctx:step("second", function()
  return ctx:step("inner", function() return #parallel { function() sleep(2) end } end)
end)
sleep(3)
return { a, b, drawn[#drawn] }
"""


def recording(*recorded: tuple[str, JSON]) -> Answer:
    """Answer as a host that has these steps on record."""
    known = dict(recorded)

    def answer(operation: str, arguments: Any) -> Any:
        match operation:
            case "step.begin" if arguments["name"] in known:
                return {"recorded": True, "value": known[arguments["name"]]}
            case "state.get":
                return ["value", "1"]
            case _:
                return None

    return answer


async def test_a_step_is_begun_and_ended_under_one_key(lua: Bench) -> None:
    outcome = await lua.body(STEPS, answer=recording())
    assert outcome.value[:2] == [{"got": "value", "list": []}, 1]
    asked = [(key, name) for key, (name, _) in zip(outcome.keys, outcome.requests, strict=True)]
    assert asked == [
        (":1", "step.begin"),
        ("/s1:1", "sleep"),
        ("/s1:2", "state.get"),
        (":1", "step.end"),
        (":2", "step.begin"),
        ("/s2:1", "step.begin"),
        ("/s2/s1/1.1:1", "sleep"),
        ("/s2:1", "step.end"),
        (":2", "step.end"),
        (":3", "sleep"),
    ]
    ended = [arguments for name, arguments in outcome.requests if name == "step.end"]
    assert ended[0] == {"name": "first", "value": {"got": "value", "list": []}}


async def test_a_step_on_record_is_not_run_and_leaves_all_after_it_as_it_was(lua: Bench) -> None:
    whole = await lua.body(STEPS, answer=recording())
    resumed = lua.resumed(":1", ":2")
    again = await resumed.body(STEPS, answer=recording(("first", whole.value[0]), ("second", 1)))
    assert again.value == whole.value
    assert again.keys == [":1", ":2", ":3"]


async def test_a_failed_step_is_not_recorded_and_raises(lua: Bench) -> None:
    outcome = await lua.body(
        """
        local ok, problem = pcall(ctx.step, ctx, "s", function() error({ code = "mine" }) end)
        sleep(1)
        return { ok, problem.code }
        """,
        answer=recording(),
    )
    assert outcome.value == [False, "mine"]
    assert outcome.keys == [":1", ":2"]
    error = await lua.error('ctx:step("s", function()\n  error "kaput"\nend)', answer=recording())
    assert (error["message"], error["where"]) == ("kaput", "spells/t.lua:3")


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("ctx:step(function() end)", "ctx:step takes a name and a function, got a function"),
        ("ctx:step('', print)", "ctx:step takes a name and a function, got ''"),
        ("ctx:step('s', 5)", "ctx:step takes a name and a function, got a number"),
        (
            "ctx:step('s', function() return print end)",
            "ctx:step: cannot pass on what the function of 's' returned: a function",
        ),
        (
            "ctx:step('s', function() return Content.image('x', 'image/png') end)",
            "ctx:step: cannot pass on what the function of 's' returned: binary data; make it text "
            "first",
        ),
        (
            "coroutine.wrap(function() ctx:step('s', function() coroutine.yield() end) end)()",
            "coroutine.yield cannot leave the function of ctx:step",
        ),
        ("ctx:ask 'Really?'", "ctx:ask takes a table with a message, got a string"),
        ("ctx:ask { schema = {} }", "ctx:ask takes a table with a message, got a table"),
        (
            "ctx:ask { message = 'm', expire = '1h' }",
            "ctx:ask has no field 'expire': it takes message, schema, url, name and expires",
        ),
        (
            "ctx:ask { message = 'm', expires = 'soon' }",
            "ctx:ask: 'expires' is seconds, or a text like '500ms', '2s', '2m', '1h', '3d'; "
            "got 'soon'",
        ),
    ],
)
async def test_what_makes_no_sense_is_refused(lua: Bench, statement: str, message: str) -> None:
    error = await lua.error(statement, answer=recording())
    assert error["message"] == message
    assert error["where"] == "spells/t.lua:2"


async def test_a_generator_made_before_a_step_may_be_used_inside(lua: Bench) -> None:
    body = """
    local numbers = coroutine.wrap(function() coroutine.yield(1) coroutine.yield(2) end)
    return { numbers(), ctx:step("s", function() return numbers() end) }
    """
    assert await lua.value(body, answer=recording()) == [1, 2]


async def test_a_question_is_passed_on_and_its_answer_returned(lua: Bench) -> None:
    outcome = await lua.body(
        """
        local answer = ctx:ask {
          message = "Send it?",
          schema = { ok = Schema.boolean "Whether to" },
          expires = "24h",
        }
        return answer.ok
        """,
        answer=lambda operation, arguments: {"ok": True},
    )
    assert outcome.value is True
    ((operation, arguments),) = outcome.requests
    assert operation == "ask"
    assert arguments["message"] == "Send it?"
    assert arguments["expires"] == 86_400
    assert arguments["schema"]["ok"]["$schema"] == {
        "type": "boolean",
        "description": "Whether to",
    }


async def test_a_refused_question_can_be_caught(lua: Bench) -> None:
    def answer(operation: str, arguments: Any) -> Any:
        raise AskDeclined("no")

    body = "local ok, e = pcall(ctx.ask, ctx, { message = 'm' })\nreturn { ok, e.code }"
    assert await lua.value(body, answer=answer) == [False, "ask.declined"]


async def test_nothing_runs_after_a_run_continues_as_new(lua: Bench) -> None:
    script = await lua.open("return function(_, ctx) ctx:continue_as_new { n = 2 } sleep(1) end")
    script.load()
    script.call(FunctionRef(1), [None], with_context=True)
    request = (await script.exchange())[-1]
    assert isinstance(request, Requested)
    assert (request.operation, request.arguments) == ("continue_as_new", {"input": {"n": 2}})
    await script.close()


@pytest.mark.parametrize(
    ("duration", "seconds"), [("'3d'", 259_200), ("'2h'", 7200), ("'1.5d'", 129_600.0)]
)
async def test_a_sleep_may_take_days(lua: Bench, duration: str, seconds: float) -> None:
    outcome = await lua.body(f"sleep({duration})", answer=recording())
    assert outcome.requests == [("sleep", {"seconds": seconds})]


async def test_an_error_of_a_step_that_cannot_be_recorded_reaches_the_author(lua: Bench) -> None:
    def answer(operation: str, arguments: Any) -> Any:
        if operation == "step.end":
            raise LlmspellError("the disk is full")
        return {"recorded": False}

    error = await lua.error("ctx:step('s', function() end)", answer=answer)
    assert error["message"] == "the disk is full"
