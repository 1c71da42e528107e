"""Requests to the caller's own client, named questions and pages, as a door sees them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from llmspell.host.host import Host
from llmspell.security.principals import local_caller
from llmspell.values import Object
from tests.support.hosts import open_host

pytestmark = pytest.mark.asyncio(loop_scope="module")

SPELLS = {
    "samples": """
        return Spell.create { input = {}, run = function(_, ctx)
          return ctx:client("sampling/createMessage", { maxTokens = 5 })
        end }""",
    "tells": """
        return Spell.create { input = {}, run = function(_, ctx)
          ctx:client("notifications/message", { level = "info", data = "hello" })
          return "told"
        end }""",
    "changes": """
        return Spell.create { input = {}, run = function(_, ctx)
          ctx:client "notifications/prompts/list_changed"
        end }""",
    "refuses": """
        return Spell.create { input = {}, run = function(_, ctx)
          ctx:protocol_error(-32042, "not now", { after = 5 })
        end }""",
    "signs_in": """
        return Spell.create { input = {}, run = function(_, ctx)
          return ctx:ask { name = "login", message = "Sign in", url = "https://example.org/login" }
        end }""",
    "calls_samples": """
        local samples = Spell.get "samples"
        return Spell.create { input = {}, run = function() return samples:cast {} end }""",
}

CLIENT = local_caller("mcp")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Host]:
    async with open_host(tmp_path_factory.mktemp("project"), SPELLS) as host:
        yield host


async def test_a_request_to_the_client_is_a_question_that_takes_its_answer_as_it_is(
    host: Host,
) -> None:
    async with asyncio.timeout(10):
        handle = await host.start("samples", {}, caller=CLIENT)
        outcome = await handle.result()
        [question] = outcome.questions
        assert question.request == {
            "method": "sampling/createMessage",
            "params": {"maxTokens": 5},
        }
        answer: Object = {"role": "assistant", "content": {"type": "text", "text": "hi"}}
        await handle.answer(answer, question=question.id)
        assert (await handle.result()).output == answer


async def test_a_notification_is_an_event_and_is_not_waited_for(host: Host) -> None:
    async with asyncio.timeout(10):
        handle = await host.start("tells", {}, caller=CLIENT)
        assert (await handle.result()).output == "told"
        notices = [event.data async for event in handle.events() if event.kind == "notice"]
    assert notices == [
        {"method": "notifications/message", "params": {"level": "info", "data": "hello"}}
    ]


async def test_a_list_that_changed_is_told_to_all_who_follow_the_lists(host: Host) -> None:
    told: list[str] = []
    end = host.library.on_list(told.append)
    async with asyncio.timeout(10):
        assert (await host.cast("changes", {}, caller=CLIENT)).ok
    end()
    assert told == ["prompts"]


@pytest.mark.parametrize("name", ["samples", "tells", "changes", "calls_samples"])
async def test_who_is_no_mcp_client_is_sent_nothing(host: Host, name: str) -> None:
    caller = CLIENT if name == "calls_samples" else local_caller()
    async with asyncio.timeout(10):
        outcome = await host.cast(name, {}, caller=caller)
    assert outcome.error is not None
    assert outcome.error["code"] == "spell.raised"
    assert "the run has no MCP client" in outcome.error["message"]


async def test_a_protocol_error_is_a_failure_that_keeps_what_the_wire_is_to_carry(
    host: Host,
) -> None:
    async with asyncio.timeout(10):
        outcome = await host.cast("refuses", {}, caller=local_caller())
    assert outcome.error is not None
    assert outcome.error["code"] == "run.protocol_error"
    assert outcome.error["data"] == {"code": -32042, "message": "not now", "data": {"after": 5}}


async def test_a_page_is_a_question_with_a_name_and_an_address_and_no_form(host: Host) -> None:
    async with asyncio.timeout(10):
        handle = await host.start("signs_in", {}, caller=local_caller())
        [question] = (await handle.result()).questions
        assert (question.name, question.url) == ("login", "https://example.org/login")
        assert question.schema == {"type": "object"}
        await handle.answer({}, question=question.id)
        assert (await handle.result()).output == {}
