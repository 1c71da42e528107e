"""Questions of a run through MCP: rounds of a call, requests to the client, input of a task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from llmspell.endpoints.mcp.exchange import TASKS, Client, NoBackChannel
from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.endpoints.mcp.tasks import TaskUpdateParams
from llmspell.errors import RunNotFound
from llmspell.host.host import Host
from llmspell.security.principals import Caller
from llmspell.values import Object
from tests.support.exchange import RecordingExchange
from tests.support.mcp import SECONDS, ended_run, open_host

SPELLS = {
    "order": """
return Spell.create { input = { what = Schema.string "What" }, run = function(input, ctx)
  State.shared:increment "begun"
  local much = ctx:ask { message = "How many?", schema = { number = Schema.integer "Number" } }
  local sure = ctx:ask { message = "Sure?" }
  if not sure.ok then return "nothing" end
  return much.number .. " x " .. input.what
end }
""",
    "two": """
return Spell.create { input = {}, run = function(_, ctx)
  return parallel {
    function() return ctx:ask { message = "one?" }.ok end,
    function() return ctx:ask { message = "two?" }.ok end,
  }
end }
""",
    "samples": """
return Spell.create { input = {}, run = function(_, ctx)
  return ctx:client("sampling/createMessage", { maxTokens = 5 }).content.text
end }
""",
    "named": """
return Spell.create { input = {}, run = function(_, ctx)
  return ctx:ask { name = "who", message = "Who?", schema = { name = Schema.string "" } }.name
end }
""",
    "twins": """
return Spell.create { input = {}, run = function(_, ctx)
  return parallel {
    function() return ctx:ask { name = "sure", message = "one?" }.ok end,
    function() return ctx:ask { name = "sure", message = "two?" }.ok end,
  }
end }
""",
    "begun": """
return Spell.create { input = {}, run = function() return State.shared:get "begun" or 0 end }
""",
}
FORMS = Client(elicits_forms=True)
ACCEPT = {"action": "accept", "content": {"ok": True}}


@asynccontextmanager
async def opened(directory: Path) -> AsyncGenerator[tuple[Host, McpEndpoint]]:
    async with open_host(directory, SPELLS) as host:
        endpoint = McpEndpoint(host)
        try:
            async with asyncio.timeout(SECONDS):
                yield host, endpoint
        finally:
            await endpoint.close()


def order(**rest: Any) -> Object:
    return {"name": "order", "arguments": {"what": "lamps"}, **rest}


def only(result: Object) -> tuple[str, Object]:
    (item,) = result["inputRequests"].items()
    return item


async def test_a_call_asks_in_rounds_and_is_never_cast_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as (host, endpoint):
        exchange = RecordingExchange(client=FORMS)
        first = await endpoint.call_tool(exchange, order())
        assert first["resultType"] == "input_required"
        key, request = only(first)
        assert request == {
            "method": "elicitation/create",
            "params": {
                "mode": "form",
                "message": "How many?",
                "requestedSchema": {
                    "type": "object",
                    "properties": {"number": {"type": "integer", "description": "Number"}},
                    "required": ["number"],
                },
            },
        }
        answer = {key: {"action": "accept", "content": {"number": 3}}}
        second = await endpoint.call_tool(
            exchange, order(requestState=first["requestState"], inputResponses=answer)
        )
        key, request = only(second)
        assert request["params"]["message"] == "Sure?"
        retry = order(requestState=second["requestState"], inputResponses={key: ACCEPT})
        done = await endpoint.call_tool(exchange, retry)
        assert done["content"][0]["text"] == "3 x lamps"
        assert (await host.cast("begun", {})).output == 1
        # A client that did not get the answer says the same again.
        assert await endpoint.call_tool(exchange, retry) == done


async def test_a_missing_or_wrong_answer_is_asked_for_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, endpoint):
        exchange = RecordingExchange(client=FORMS)
        first = await endpoint.call_tool(exchange, order())
        key, request = only(first)
        wrong: list[Object] = [
            {},
            {"other": ACCEPT},
            {key: {"action": "accept", "content": {}}},
        ]
        for responses in wrong:
            again = await endpoint.call_tool(
                exchange, order(requestState=first["requestState"], inputResponses=responses)
            )
            assert only(again) == (key, request)


async def test_a_decline_reaches_the_spell_and_a_closed_form_leaves_the_question_open(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as (host, endpoint):
        exchange = RecordingExchange(client=FORMS)
        first = await endpoint.call_tool(exchange, order())
        key, _ = only(first)
        closed = await endpoint.call_tool(
            exchange,
            order(requestState=first["requestState"], inputResponses={key: {"action": "cancel"}}),
        )
        assert closed["structuredContent"]["status"] == "input_required"
        run_id = closed["structuredContent"]["run_id"]
        assert f"llmspell runs answer {run_id}" in closed["structuredContent"]["how_to_continue"]
        handle = await host.run(run_id, caller=exchange.caller)
        assert (await handle.record()).state == "input_required"
        declined = await endpoint.call_tool(
            exchange,
            order(requestState=first["requestState"], inputResponses={key: {"action": "decline"}}),
        )
        assert declined["isError"]
        assert declined["_meta"]["llmspell/error"]["code"] == "ask.declined"


async def test_questions_asked_side_by_side_are_one_round(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, endpoint):
        exchange = RecordingExchange(client=FORMS)
        first = await endpoint.call_tool(exchange, {"name": "two", "arguments": {}})
        assert len(first["inputRequests"]) == 2
        done = await endpoint.call_tool(
            exchange,
            {
                "name": "two",
                "requestState": first["requestState"],
                "inputResponses": dict.fromkeys(first["inputRequests"], ACCEPT),
            },
        )
        assert done["content"][0]["text"] == "[true,true]"


async def test_a_request_state_is_good_only_for_whom_and_what_it_was_made(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, endpoint):
        exchange = RecordingExchange(client=FORMS)
        state = (await endpoint.call_tool(exchange, order()))["requestState"]
        stranger = RecordingExchange(client=FORMS, caller=Caller(principal="other", door="mcp"))
        wrong: list[tuple[RecordingExchange, Object]] = [
            (exchange, order(requestState=state[:-4] + "AAAA")),
            (exchange, order(requestState="v1.x")),
            (exchange, order(requestState="")),
            (exchange, {"name": "two", "requestState": state}),
            (stranger, order(requestState=state)),
        ]
        for who, params in wrong:
            with pytest.raises(MCPError) as refused:
                await endpoint.call_tool(who, params)
            assert refused.value.code == -32602
        # What they tried changed nothing.
        again = await endpoint.call_tool(exchange, order(requestState=state))
        assert only(again)[1]["params"]["message"] == "How many?"


async def test_an_answer_that_comes_with_the_call_is_taken_by_name(tmp_path: Path) -> None:
    ada = {"action": "accept", "content": {"name": "Ada"}}
    async with opened(tmp_path) as (_, endpoint):
        exchange = RecordingExchange(client=FORMS)
        call = {"name": "named", "inputResponses": {"who": ada, "else": ada}}
        assert (await endpoint.call_tool(exchange, call))["content"][0]["text"] == "Ada"
        empty = {"action": "accept", "content": {"nick": "Ada"}}
        for wrong in ({"who": 5}, {"else": ada}, {"who": empty}):
            asked = await endpoint.call_tool(exchange, {"name": "named", "inputResponses": wrong})
            assert only(asked)[0] == "who"


async def test_a_client_without_a_model_is_told_what_it_lacks_and_the_run_ends(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as (host, endpoint):
        with pytest.raises(MCPError) as refused:
            await endpoint.call_tool(RecordingExchange(client=FORMS), {"name": "samples"})
        assert refused.value.code == -32021
        assert refused.value.error.data == {"requiredCapabilities": {"sampling": {}}}
        assert (await ended_run(host)).state == "canceled"
        able = RecordingExchange(client=Client(samples=True))
        _, request = only(await endpoint.call_tool(able, {"name": "samples"}))
        assert request == {"method": "sampling/createMessage", "params": {"maxTokens": 5}}


async def test_an_answer_goes_to_the_question_it_was_asked_for_and_to_no_other_of_its_name(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as (host, endpoint):
        exchange = RecordingExchange(client=FORMS)
        call: Object = {"name": "twins", "arguments": {}}
        first = await endpoint.call_tool(exchange, call)
        assert "sure" in first["inputRequests"]
        asked = first["inputRequests"]["sure"]["params"]["message"]
        (run,) = (await host.runs(caller=exchange.caller)).runs
        handle = await host.run(run.id, caller=exchange.caller)
        (meant,) = [each for each in run.questions if each.message == asked]
        await handle.answer({"ok": False}, question=meant.id)
        retry = {**call, "requestState": first["requestState"], "inputResponses": {"sure": ACCEPT}}
        second = await endpoint.call_tool(exchange, retry)
        # The other question, now alone of its name, was not taken as answered.
        assert second["inputRequests"]["sure"]["params"]["message"] != asked


async def test_an_answer_at_another_door_lets_the_rounds_go_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as (host, endpoint):
        exchange = RecordingExchange(client=FORMS)
        first = await endpoint.call_tool(exchange, order())
        (run,) = (await host.runs(caller=exchange.caller)).runs
        await (await host.run(run.id, caller=exchange.caller)).answer(2)
        second = await endpoint.call_tool(exchange, order(requestState=first["requestState"]))
        assert only(second)[1]["params"]["message"] == "Sure?"


async def test_a_client_that_cannot_ask_gets_a_handle_and_the_run_waits(tmp_path: Path) -> None:
    async with opened(tmp_path) as (host, endpoint):
        for is_modern in (True, False):
            exchange = RecordingExchange(is_modern=is_modern)
            handle = await endpoint.call_tool(exchange, order())
            said = handle["structuredContent"]
            assert said["status"] == "input_required"
            assert "How many?" in said["how_to_continue"]
            run = await host.run(said["run_id"], caller=exchange.caller)
            await run.answer(4)
            asked = await endpoint.calls.result(exchange, said["run_id"])
            assert asked["structuredContent"]["status"] == "input_required"
            await run.answer(True)
            done = await endpoint.calls.result(exchange, said["run_id"])
            assert done["content"][0]["text"] == "4 x lamps"


@dataclass
class Asking(RecordingExchange):
    """A client of the protocol before 2026-07-28 that answers with a function."""

    is_modern: bool = False
    client: Client = field(default_factory=lambda: FORMS)
    reply: Callable[[Object], Object] | None = None
    asked: list[Object] = field(default_factory=list[Object])
    withdrawn: int = 0

    async def has_asked(self, count: int) -> None:
        """Return once so many questions were put to the client."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.asked) >= count)

    async def request(self, method: str, params: Object) -> Object:
        assert method == "elicitation/create"
        async with self.changed:
            self.asked.append(params)
            self.changed.notify_all()
        if self.reply is not None:
            return self.reply(params)
        try:
            return await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.withdrawn += 1
            raise


def answers(params: Object) -> Object:
    content = {"number": 2} if "number" in params["requestedSchema"]["properties"] else {"ok": True}
    return {"action": "accept", "content": content}


async def test_a_client_of_before_is_asked_while_its_call_is_open(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, endpoint):
        exchange = Asking(reply=answers)
        done = await endpoint.call_tool(exchange, order())
        assert done["content"][0]["text"] == "2 x lamps"
        assert [params["message"] for params in exchange.asked] == ["How many?", "Sure?"]


async def test_a_question_answered_elsewhere_is_taken_back_from_the_client(tmp_path: Path) -> None:
    async with opened(tmp_path) as (host, endpoint):
        exchange = Asking()
        calling = asyncio.ensure_future(endpoint.call_tool(exchange, order()))
        await exchange.has_asked(1)
        (run,) = (await host.runs(caller=exchange.caller)).runs
        handle = await host.run(run.id, caller=exchange.caller)
        await handle.answer(6)
        await exchange.has_asked(2)
        await handle.answer(True)
        assert (await calling)["content"][0]["text"] == "6 x lamps"
        assert exchange.withdrawn == 2


@pytest.mark.parametrize("failure", [NoBackChannel(), MCPError(-32601, "what?")])
async def test_a_client_that_fails_to_ask_gets_a_handle(tmp_path: Path, failure: Exception) -> None:
    def fails(params: Object) -> Object:
        raise failure

    async with opened(tmp_path) as (_, endpoint):
        handle = await endpoint.call_tool(Asking(reply=fails), order())
        assert handle["structuredContent"]["status"] == "input_required"
        cancelled = await endpoint.call_tool(Asking(reply=lambda _: {"action": "cancel"}), order())
        assert cancelled["structuredContent"]["status"] == "input_required"


async def test_a_task_asks_by_its_state_and_takes_answers(tmp_path: Path) -> None:
    async with opened(tmp_path) as (host, endpoint):
        exchange = RecordingExchange(client=Client(extensions=frozenset({TASKS})))
        created = await endpoint.call_tool(exchange, order())
        assert created["resultType"] == "task"
        task_id = created["taskId"]
        for answer in ({"number": 8}, {"ok": True}):
            task = await endpoint.tasks.of(task_id, exchange.caller)
            assert task["status"] == "input_required"
            key, _ = only(task)
            responses: Object = {key: {"action": "accept", "content": answer}, "x": ACCEPT}
            update = TaskUpdateParams(task_id=task_id, input_responses=responses)
            assert await endpoint.tasks.update(exchange, update) == {}
            await (await host.run(task_id, caller=exchange.caller)).result()
        ended = await endpoint.tasks.of(task_id, exchange.caller)
        assert ended["result"]["content"][0]["text"] == "8 x lamps"
        with pytest.raises(RunNotFound):
            await endpoint.tasks.of(task_id, Caller(principal="other"))


async def test_a_question_asked_at_once_comes_before_the_task(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, endpoint):
        both = Client(extensions=frozenset({TASKS}), elicits_forms=True)
        first = await endpoint.call_tool(RecordingExchange(client=both), order())
        assert first["resultType"] == "input_required"
