"""The litellm provider against a real HTTP server; one import of litellm serves every test."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmspell.clock import ManualClock
from llmspell.effects.messages import (
    Message,
    ModelReply,
    ModelRequest,
    TextDelta,
    ToolCall,
    ToolOffer,
)
from llmspell.errors import (
    ModelAuth,
    ModelBadRequest,
    ModelContentPolicy,
    ModelContextLength,
    ModelError,
    ModelRateLimit,
    ModelTimeout,
    ModelUnavailable,
    ModelUnknown,
)
from llmspell.providers.litellm import LiteLLMProvider
from llmspell.values import JSON, Object, loads
from tests.support.openai_server import OpenAIServer, event

# litellm filters these for itself when it is imported; pytest resets filters for each test.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

SECONDS = 60
"""Bound of every wait: the first one imports litellm, which takes a busy machine long."""

KEY = "sk-canary-8f3a61c07d"
WEATHER = ToolOffer(
    name="weather",
    description="The weather of a city.",
    input_schema={"type": "object", "properties": {"city": {"type": "string"}}},
)

ANTHROPIC: list[Object] = [
    {"type": "message_start", "message": {"role": "assistant", "content": [], "usage": {}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Cold."}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]
"""An answer as Anthropic streams it."""


@asynccontextmanager
async def serving(**more: Any) -> AsyncGenerator[tuple[LiteLLMProvider, OpenAIServer]]:
    """A provider whose OpenAI is a server of this test."""
    async with OpenAIServer() as server, asyncio.timeout(SECONDS):
        provider = LiteLLMProvider(keys={"openai": KEY}, api_bases={"openai": server.url}, **more)
        try:
            yield provider, server
        finally:
            await provider.close()


def asks(*messages: Message, text: str = "hello there", **more: Any) -> ModelRequest:
    return ModelRequest(model="", messages=messages or (Message(role="user", text=text),), **more)


async def reply_of(
    provider: LiteLLMProvider, model: str, request: ModelRequest | None = None, **more: Any
) -> tuple[list[str], ModelReply]:
    pieces: list[str] = []
    async for said in provider.stream(request or asks(), model=model, **more):
        match said:
            case TextDelta(text=text):
                pieces.append(text)
            case ModelReply():
                return pieces, said
    raise AssertionError("no reply")


async def test_text_streams_in_pieces_and_the_reply_has_the_whole_and_its_usage() -> None:
    async with serving() as (provider, server):
        pieces, reply = await reply_of(provider, "openai/text", idempotency_key="k1")
    assert pieces == ["You ", "said: ", "hello ", "there "]
    assert reply.text == "You said: hello there "
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.calls) == (12, 8, 1)
    assert (reply.model, reply.finish) == ("openai/text", "stop")
    (request,) = server.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["idempotency-key"] == "k1"


async def test_the_price_is_known_for_a_listed_model_and_none_for_any_other() -> None:
    async with serving() as (provider, _):
        _, listed = await reply_of(provider, "openai/gpt-4o-mini")
        _, other = await reply_of(provider, "openai/text")
    assert listed.usage.usd is not None
    assert 0 < listed.usage.usd < 0.001
    assert other.usage.usd is None


async def test_parallel_tool_calls_are_put_together_from_their_pieces() -> None:
    async with serving() as (provider, server):
        _, reply = await reply_of(provider, "openai/tools", asks(tools=(WEATHER,)))
    assert reply.calls == (
        ToolCall(id="call_1", name="weather", arguments={"city": "Oslo"}),
        ToolCall(id="call_2", name="weather", arguments={"city": "Rome"}),
    )
    assert reply.finish == "tool_calls"
    (offered,) = server.requests[0].body["tools"]
    assert offered["function"]["parameters"] == WEATHER.input_schema


async def test_arguments_that_are_no_json_stay_the_text_they_are() -> None:
    async with serving() as (provider, _):
        _, reply = await reply_of(provider, "openai/garbled_call", asks(tools=(WEATHER,)))
    assert reply.calls[0].arguments == '{"city": "Oslo'


async def test_a_conversation_with_calls_and_results_goes_out_in_openais_shape() -> None:
    call = ToolCall(id="c1", name="weather", arguments={"city": "Oslo"})
    request = asks(
        Message(role="system", text="Be brief."),
        Message(role="user", text="Oslo?"),
        Message(role="assistant", calls=(call,)),
        Message(role="tool", text="3 C", call_id="c1"),
        max_tokens=50,
        temperature=0.5,
    )
    async with serving() as (provider, server):
        await reply_of(provider, "openai/text", request)
    body = server.requests[0].body
    assert [message["role"] for message in body["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
    ]
    (sent,) = body["messages"][2]["tool_calls"]
    assert (sent["id"], loads(sent["function"]["arguments"])) == ("c1", {"city": "Oslo"})
    assert body["messages"][3]["tool_call_id"] == "c1"
    assert (body["max_tokens"], body["temperature"]) == (50, 0.5)


@pytest.mark.parametrize("arguments", ['{"city": "Os', [1], None])
async def test_a_call_the_model_got_wrong_does_not_end_the_conversation(arguments: JSON) -> None:
    wrong = ToolCall(id="c1", name="functions.weather", arguments=arguments)
    request = asks(
        Message(role="user", text="Oslo?"),
        Message(role="assistant", calls=(wrong,)),
        Message(role="tool", text="error: there is no tool", call_id="c1"),
    )
    async with OpenAIServer() as server, asyncio.timeout(SECONDS):
        provider = LiteLLMProvider(keys={"anthropic": KEY}, api_bases={"anthropic": server.url})
        server.streams["claude-sonnet-4-5"] = ANTHROPIC
        _, reply = await reply_of(provider, "anthropic/claude-sonnet-4-5", request)
        await provider.close()
    assert reply.text == "Cold."
    (called,) = server.requests[0].body["messages"][1]["content"]
    assert called["name"] == "functions_weather"
    assert called["input"] == {"wrong": arguments}


async def test_an_output_schema_is_sent_as_the_response_format() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    async with serving() as (provider, server):
        _, reply = await reply_of(provider, "openai/json", asks(output_schema=schema))
    assert loads(reply.text) == {"city": "Oslo", "degrees": 3}
    assert server.requests[0].body["response_format"]["json_schema"]["schema"] == schema


async def test_a_provider_without_response_formats_is_told_the_schema_in_words() -> None:
    async with OpenAIServer() as server, asyncio.timeout(SECONDS):
        provider = LiteLLMProvider(api_bases={"featherless_ai": server.url})
        await reply_of(provider, "featherless_ai/x", asks(output_schema={"type": "object"}))
        await provider.close()
    body = server.requests[0].body
    assert "response_format" not in body
    assert '{"type":"object"}' in body["messages"][0]["content"]


async def test_anthropic_is_offered_a_tool_wherever_the_conversation_has_used_one() -> None:
    call = ToolCall(id="c1", name="weather", arguments={})
    request = asks(
        Message(role="user", text="Oslo?"),
        Message(role="assistant", calls=(call,)),
        Message(role="tool", text="3 C", call_id="c1"),
    )
    async with OpenAIServer() as server, asyncio.timeout(SECONDS):
        provider = LiteLLMProvider(keys={"anthropic": KEY}, api_bases={"anthropic": server.url})
        server.streams["claude-sonnet-4-5"] = ANTHROPIC
        _, reply = await reply_of(provider, "anthropic/claude-sonnet-4-5", request)
        assert (reply.text, reply.finish) == ("Cold.", "stop")
        server.streams["claude-sonnet-4-5"] = ANTHROPIC[:2]
        with pytest.raises(ModelUnavailable, match="broke off"):
            await reply_of(provider, "anthropic/claude-sonnet-4-5", request)
        await provider.close()
    body = server.requests[0].body
    assert body["tools"], "Anthropic refuses tool results when no tool is offered"
    assert [part["type"] for part in body["messages"][1]["content"]] == ["tool_use"]


async def test_an_answer_that_was_cut_off_says_so() -> None:
    async with serving() as (provider, _):
        _, reply = await reply_of(provider, "openai/cut")
    assert reply.finish == "length"


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("unauthorized", ModelAuth),
        ("forbidden", ModelAuth),
        ("limited", ModelRateLimit),
        ("broken", ModelUnavailable),
        ("overloaded", ModelUnavailable),
        ("unknown", ModelUnknown),
        ("too_long", ModelContextLength),
        ("refused", ModelContentPolicy),
        ("malformed", ModelBadRequest),
    ],
)
async def test_a_vendors_error_becomes_ours_and_shows_no_key(
    model: str, kind: type[ModelError]
) -> None:
    async with serving() as (provider, server):
        with pytest.raises(ModelError) as caught:
            await reply_of(provider, f"openai/{model}")
    error = caught.value
    assert type(error) is kind
    assert f"openai/{model}" in error.message
    assert len(server.requests) == 1, "a provider tries once"
    shown = f"{error.report()} {error.to_value()}"
    for form in (KEY, KEY[3:], base64.b64encode(KEY.encode()).decode()):
        assert form not in shown
    if kind is ModelRateLimit:
        assert error.data == {"retry_after": 7.0}


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("Tue, 14 Nov 2023 22:14:20 GMT", 60.0), ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0)],
)
async def test_a_date_to_wait_for_is_told_in_seconds(said: str, seconds: float) -> None:
    async with serving(clock=ManualClock(1_700_000_000.0)) as (provider, server):
        server.retry_after = said
        with pytest.raises(ModelRateLimit) as caught:
            await reply_of(provider, "openai/limited")
    assert caught.value.data == {"retry_after": seconds}


@pytest.mark.parametrize("said", ["nan", "inf", "-1", "soon", "Tue, 99 Nov 2023 22:14:20 GMT"])
async def test_a_time_to_wait_that_is_none_is_left_out(said: str) -> None:
    async with serving() as (provider, server):
        server.retry_after = said
        with pytest.raises(ModelRateLimit) as caught:
            await reply_of(provider, "openai/limited")
    assert caught.value.data == {}


def called(index: int, id: str | None, arguments: str) -> Object:
    """Return a piece of an answer that calls the tool `weather`."""
    function = {"name": "weather", "arguments": arguments}
    return {"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]}


@pytest.mark.parametrize(
    "events",
    [
        [event({"role": "assistant", "content": "half a "}), event({"content": "sen"})],
        [event(called(0, "a", '{"city": "Os'))],
    ],
)
async def test_an_answer_that_ends_without_saying_why_is_no_answer(events: list[Object]) -> None:
    async with serving() as (provider, server):
        server.streams["ends"] = events
        with pytest.raises(ModelUnavailable, match="broke off"):
            await reply_of(provider, "openai/ends")


async def test_calls_of_the_same_id_are_told_apart() -> None:
    async with serving() as (provider, server):
        server.streams["twins"] = [
            event(called(0, "a", '{"city": "Oslo"}')),
            event(called(1, "a", '{"city": "Rome"}')),
            event({}, "tool_calls"),
        ]
        _, reply = await reply_of(provider, "openai/twins")
    assert [call.arguments for call in reply.calls] == [{"city": "Oslo"}, {"city": "Rome"}]
    assert len({call.id for call in reply.calls}) == 2


async def test_what_is_no_unicode_or_no_end_of_lists_can_still_be_kept() -> None:
    async with serving() as (provider, server):
        server.streams["odd"] = [
            event({"content": "a\ud800b"}),
            event(called(0, "c\udc00", "[" * 100_000)),
            event(called(1, "d", '{"city": "\ud800"}')),
            event({}, "tool_calls"),
        ]
        _, reply = await reply_of(provider, "openai/odd")
    kept = msgspec.json.encode(reply)
    assert b"a?b" in kept
    assert reply.calls[0].arguments == "[" * 100_000


async def test_a_provider_gives_no_tokens_back() -> None:
    usage = {"prompt_tokens": -5_000, "completion_tokens": -1, "total_tokens": -5_001}
    async with serving() as (provider, server):
        server.streams["gpt-4o-mini"] = [event({"content": "x"}, "stop", usage=usage)]
        _, reply = await reply_of(provider, "openai/gpt-4o-mini")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (0, 0)
    assert reply.usage.usd is not None
    assert reply.usage.usd >= 0


async def test_a_refused_connection_is_an_unavailable_provider() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        provider = LiteLLMProvider(keys={"openai": KEY}, api_bases={"openai": base})
        with pytest.raises(ModelUnavailable, match="cannot be reached"):
            await reply_of(provider, "openai/text")
        await provider.close()


async def test_a_missing_key_is_found_before_the_call_and_the_hint_names_its_variable() -> None:
    provider = LiteLLMProvider()
    with pytest.raises(ModelAuth) as caught:
        await reply_of(provider, "perplexity/sonar")
    assert caught.value.data == {"variable": "PERPLEXITYAI_API_KEY"}
    assert "PERPLEXITYAI_API_KEY" in (caught.value.hint or "")
    assert "[providers.perplexity]" in (caught.value.hint or "")
    await provider.close()


async def test_a_server_of_ones_own_needs_no_key_and_gets_none() -> None:
    async with OpenAIServer() as server, asyncio.timeout(SECONDS):
        provider = LiteLLMProvider(api_bases={"openai": server.url})
        await reply_of(provider, "openai/text")
        await provider.close()
    assert server.requests[0].headers["authorization"] == "Bearer none"


async def test_a_provider_nobody_knows_is_an_unknown_model() -> None:
    provider = LiteLLMProvider()
    with pytest.raises(ModelUnknown, match="nobody/model"):
        await reply_of(provider, "nobody/model")
    await provider.close()


async def test_an_answer_that_stalls_times_out_by_the_injected_clock() -> None:
    clock = ManualClock()
    async with serving(clock=clock, timeout_seconds=30.0) as (provider, server):
        waiting = asyncio.create_task(reply_of(provider, "openai/stall"))
        await server.stalled.wait()
        while not waiting.done():
            await clock.sleeper()
            await clock.advance(30)
        with pytest.raises(ModelTimeout, match="within 30 s"):
            await waiting
        await server.hung_up.wait()


async def test_closing_the_stream_early_hangs_up_on_the_provider() -> None:
    async with serving() as (provider, server):
        stream = provider.stream(asks(), model="openai/stall")
        async with aclosing(stream):
            assert await anext(stream) == TextDelta("You ")
        await server.hung_up.wait()


async def test_cancelling_ends_the_call_at_once() -> None:
    async with serving() as (provider, server):
        waiting = asyncio.create_task(reply_of(provider, "openai/stall"))
        await server.stalled.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await server.hung_up.wait()


_SESSION = """
import asyncio, sys
from llmspell.effects.messages import Message, ModelRequest
from llmspell.errors import ModelError
from llmspell.providers.registry import Providers
from tests.support.openai_server import OpenAIServer

async def main():
    async with OpenAIServer() as server:
        providers = Providers(keys={"openai": "sk-canary"}, api_bases={"openai": server.url})
        assert "litellm" not in sys.modules, "litellm was imported before the first call"
        for model in ("openai/text", "openai/unauthorized", "openai/broken", "nobody/model"):
            request = ModelRequest(model=model, messages=(Message(role="user", text="hi"),))
            try:
                async for _ in providers.stream(request):
                    pass
            except ModelError as error:
                print(error.code, file=sys.stderr)
        await providers.close()
    assert "litellm" in sys.modules

asyncio.run(main())
"""


async def test_litellm_is_imported_at_the_first_call_and_never_writes_to_stdout(
    tmp_path: Path,
) -> None:
    root = Path(__file__).parents[3]
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-from-dotenv\n", encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _SESSION,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{root / 'server'}{os.pathsep}{root}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate()
    assert (process.returncode, out) == (0, b""), err.decode()
    assert err.decode().split() == ["model.auth", "model.unavailable", "model.unknown"]
