"""What every provider does, whoever wrote it: one suite over each of ours.

A subject offers the same models: `text`, `tools`, `json`, and one for each error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

import pytest

from llmspell.effects.messages import Message, ModelReply, ModelRequest, TextDelta, ToolOffer
from llmspell.errors import (
    ModelAuth,
    ModelContextLength,
    ModelError,
    ModelRateLimit,
    ModelUnavailable,
    ModelUnknown,
)
from llmspell.providers.litellm import LiteLLMProvider
from llmspell.providers.provider import Provider
from llmspell.providers.scripted import ScriptedProvider
from llmspell.values import Object, loads
from tests.support.openai_server import OpenAIServer

# litellm filters these for itself when it is imported; pytest resets filters for each test.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

SECONDS = 60
"""Bound of every wait: the first one imports litellm, which takes a busy machine long."""

SCRIPTS: dict[str, list[Object]] = {
    "text": [{"when": "(.*)", "text": "You said: {{1}} "}],
    "tools": [
        {
            "calls": [
                {"name": "weather", "arguments": {"city": "Oslo"}},
                {"name": "weather", "arguments": {"city": "Rome"}},
            ]
        },
        {"when": "3 C", "text": "You said: 3 C "},
    ],
    "json": [{"text": '{"city": "Oslo", "degrees": 3}'}],
    "unauthorized": [{"error": "auth"}],
    "limited": [{"error": "rate_limit"}],
    "broken": [{"error": "unavailable"}],
    "too_long": [{"error": "context_length"}],
}
WEATHER = ToolOffer(name="weather", description="The weather.", input_schema={"type": "object"})


@dataclass
class Subject:
    """A provider under test, and what its models' names begin with."""

    provider: Provider
    prefix: str

    def stream(
        self, model: str, *messages: Message, tools: tuple[ToolOffer, ...] = ()
    ) -> AsyncGenerator[TextDelta | ModelReply]:
        said = messages or (Message(role="user", text="hello there"),)
        schema: Object | None = {"type": "object"} if model == "json" else None
        request = ModelRequest(model="", messages=said, tools=tools, output_schema=schema)
        return self.provider.stream(request, model=self.prefix + model)

    async def reply(
        self, model: str, *messages: Message, tools: tuple[ToolOffer, ...] = ()
    ) -> ModelReply:
        async with asyncio.timeout(SECONDS):
            events = [event async for event in self.stream(model, *messages, tools=tools)]
        assert isinstance(events[-1], ModelReply)
        return events[-1]


@pytest.fixture(params=["scripted", "litellm"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    if request.param == "scripted":
        provider = ScriptedProvider(scripts=SCRIPTS)
        yield Subject(provider, "")
        await provider.close()
        return
    async with OpenAIServer() as server:
        provider = LiteLLMProvider(
            keys={"openai": "sk-contract-test"}, api_bases={"openai": server.url}
        )
        yield Subject(provider, "openai/")
        await provider.close()


async def test_pieces_of_text_come_first_and_one_reply_that_holds_them_all_comes_last(
    subject: Subject,
) -> None:
    async with asyncio.timeout(SECONDS):
        events = [event async for event in subject.stream("text")]
    *pieces, reply = events
    assert isinstance(reply, ModelReply)
    assert len(pieces) > 1
    assert all(isinstance(piece, TextDelta) and piece.text for piece in pieces)
    text = "".join(piece.text for piece in pieces)
    assert text == reply.text == "You said: hello there "


async def test_a_reply_says_what_answered_why_it_ended_and_what_it_spent(subject: Subject) -> None:
    reply = await subject.reply("text")
    assert reply.model.endswith("/text")
    assert reply.finish == "stop"
    assert reply.usage.calls == 1
    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens > 0


async def test_tool_calls_have_parsed_arguments_and_ids_of_their_own(subject: Subject) -> None:
    reply = await subject.reply("tools", tools=(WEATHER,))
    assert [(call.name, call.arguments) for call in reply.calls] == [
        ("weather", {"city": "Oslo"}),
        ("weather", {"city": "Rome"}),
    ]
    assert len({call.id for call in reply.calls}) == 2
    assert reply.finish == "tool_calls"


async def test_a_conversation_goes_on_after_the_results_of_its_calls(subject: Subject) -> None:
    asked = Message(role="user", text="Oslo?")
    first = await subject.reply("tools", asked, tools=(WEATHER,))
    results = [Message(role="tool", text="3 C", call_id=call.id) for call in first.calls]
    turn = Message(role="assistant", text=first.text, calls=first.calls)
    second = await subject.reply("tools", asked, turn, *results, tools=(WEATHER,))
    assert (second.text, second.calls) == ("You said: 3 C ", ())


async def test_with_an_output_schema_the_text_is_a_document(subject: Subject) -> None:
    assert loads((await subject.reply("json")).text) == {"city": "Oslo", "degrees": 3}


async def test_requests_side_by_side_each_get_their_own_answer(subject: Subject) -> None:
    words = ["one", "two", "three"]
    replies = await asyncio.gather(
        *(subject.reply("text", Message(role="user", text=word)) for word in words)
    )
    assert [reply.text for reply in replies] == [f"You said: {word} " for word in words]


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("unauthorized", ModelAuth),
        ("limited", ModelRateLimit),
        ("broken", ModelUnavailable),
        ("too_long", ModelContextLength),
    ],
)
async def test_what_goes_wrong_is_an_error_of_the_catalogue(
    subject: Subject, model: str, kind: type[ModelError]
) -> None:
    with pytest.raises(kind):
        await subject.reply(model)


async def test_a_model_that_is_not_there_is_unknown(subject: Subject) -> None:
    with pytest.raises(ModelUnknown):
        await subject.reply("unknown")


async def test_a_stream_may_be_closed_after_its_first_piece(subject: Subject) -> None:
    async with asyncio.timeout(SECONDS), aclosing(subject.stream("text")) as stream:
        assert await anext(stream) == TextDelta("You ")


async def test_closing_twice_is_no_error(subject: Subject) -> None:
    await subject.reply("text")
    await subject.provider.close()
    await subject.provider.close()
