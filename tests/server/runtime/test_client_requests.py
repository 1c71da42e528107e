"""`ctx:client`, `ctx:protocol_error` and named questions: what a script sends for them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.lua_scripts import Bench

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_request_to_the_client_brings_its_answer(lua: Bench) -> None:
    outcome = await lua.body(
        'return ctx:client("sampling/createMessage", { maxTokens = 5 }).model',
        answer=lambda operation, arguments: {"model": "m"},
    )
    assert outcome.value == "m"
    [(operation, arguments)] = outcome.requests
    assert operation == "client"
    assert arguments == {"method": "sampling/createMessage", "params": {"maxTokens": 5}}


@pytest.mark.parametrize("params", ["", ", {}", ", nil"])
async def test_no_parameters_are_an_empty_object(lua: Bench, params: str) -> None:
    outcome = await lua.body(
        f'ctx:client("notifications/tools/list_changed"{params})',
        answer=lambda operation, arguments: None,
    )
    assert outcome.ok, outcome.value
    [(_, arguments)] = outcome.requests
    assert arguments == {"method": "notifications/tools/list_changed", "params": {}}


async def test_several_requests_and_questions_are_asked_at_once(lua: Bench) -> None:
    outcome = await lua.body(
        """
        return parallel {
          function() return ctx:ask { name = "who", message = "Who?" } end,
          function() return ctx:client("roots/list") end,
        }
        """,
        answer=lambda operation, arguments: operation,
    )
    assert outcome.value == ["ask", "client"]
    assert outcome.requests[0][1] == {"name": "who", "message": "Who?"}


async def test_a_protocol_error_ends_the_run_with_its_code_message_and_data(lua: Bench) -> None:
    error = await lua.error(
        """
        local needed = { requiredCapabilities = { sampling = json.object {} } }
        ctx:protocol_error(-32021, "it needs sampling", needed)
        """
    )
    assert error["code"] == "run.protocol_error"
    assert error["message"] == "it needs sampling"
    assert error["data"] == {
        "code": -32021,
        "message": "it needs sampling",
        "data": {"requiredCapabilities": {"sampling": {}}},
    }
    assert error["where"] == "spells/t.lua:3"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("ctx:client()", "ctx:client takes a method and a table, got nothing"),
        ("ctx:client('a/b', 5)", "ctx:client takes a method and a table, got a number"),
        ("ctx:protocol_error('-1', 'm')", "got '-1' for the number"),
        ("ctx:protocol_error(1.5, 'm')", "got 1.5 for the number"),
        ("ctx:protocol_error(1)", "got nothing for the text"),
        (
            "ctx:ask { message = 'm', label = 'l' }",
            "it takes message, schema, url, name and expires",
        ),
    ],
)
async def test_wrong_arguments_are_named_before_anything_is_sent(
    lua: Bench, call: str, text: str
) -> None:
    outcome = await lua.body(f"\n{call}")
    error: Any = outcome.value
    assert text in error["message"]
    assert outcome.requests == []
