"""A real HTTP server on loopback that speaks the OpenAI chat wire, for tests of providers.

The model's name chooses the answer, so a test reads as `openai/tools`; what
clients sent is kept in `requests`. Every path is taken for `/v1/chat/completions`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from llmspell.values import Object, dumps, loads

USAGE = {"prompt_tokens": 12, "completion_tokens": 8, "total_tokens": 20}

_FAILURES: dict[str, tuple[str, str, Object]] = {
    "unauthorized": (
        "401 Unauthorized",
        "",
        {"code": "invalid_api_key", "message": "Incorrect API key provided: KEY. Bearer KEY"},
    ),
    "forbidden": ("403 Forbidden", "", {"code": "forbidden", "message": "not for you"}),
    "limited": (
        "429 Too Many Requests",
        "Retry-After: SECONDS\r\n",
        {"code": "rate_limit_exceeded", "message": "slow down"},
    ),
    "broken": ("500 Internal Server Error", "", {"code": None, "message": "boom"}),
    "overloaded": ("503 Service Unavailable", "", {"code": None, "message": "overloaded"}),
    "unknown": (
        "404 Not Found",
        "",
        {"code": "model_not_found", "message": "The model `unknown` does not exist"},
    ),
    "too_long": (
        "400 Bad Request",
        "",
        {
            "code": "context_length_exceeded",
            "message": "This model's maximum context length is 8 tokens.",
        },
    ),
    "refused": (
        "400 Bad Request",
        "",
        {
            "code": "content_policy_violation",
            "message": "Your request was rejected as a result of our safety system.",
        },
    ),
    "malformed": ("400 Bad Request", "", {"code": None, "message": "temperature is too high"}),
}
"""By model: status line, extra headers, error object. KEY stands for the key that was sent."""


@dataclass
class Received:
    """One request as it came."""

    headers: dict[str, str]
    """By lower-case name."""
    body: Object


@dataclass
class OpenAIServer:
    """An OpenAI-compatible server; `async with` starts it and closes what is open at the end."""

    requests: list[Received] = field(default_factory=list[Received])
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a request for model `stall` has been sent its first words."""
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the client of a stalled request has closed its connection."""
    streams: dict[str, Sequence[Object]] = field(default_factory=dict[str, Sequence[Object]])
    """What further models answer, by name: the events of a stream, which then ends."""
    retry_after: str = "7"
    """What model `limited` says."""
    url: str = ""

    async def __aenter__(self) -> Self:
        self._connections: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                await self._answer(request, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # The client is gone, or the test is over.
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(
        self, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        model = str(request.body["model"])
        if model in _FAILURES:
            status, headers, error = _FAILURES[model]
            key = request.headers["authorization"].removeprefix("Bearer ")
            headers = headers.replace("SECONDS", self.retry_after)
            error = {"type": "error", "param": None} | error
            error["message"] = str(error["message"]).replace("KEY", key)
            writer.write(_response(status, dumps({"error": error}), headers))
        elif not request.body.get("stream"):
            writer.write(_response("200 OK", dumps(_completion(model, request.body))))
        else:
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
            events = self.streams.get(model) or _events(model, request.body)
            for number, said in enumerate(events):
                text = json.dumps(said | {"model": model})  # also what is no Unicode
                writer.write(_chunk(f"data: {text}\n\n"))
                if model == "stall" and number == 2:
                    await writer.drain()
                    self.stalled.set()
                    await reader.read()  # b"" once the client has hung up
                    self.hung_up.set()
                    raise ConnectionError
            writer.write(_chunk("data: [DONE]\n\n") + b"0\r\n\r\n")
        await writer.drain()


async def _read_request(reader: asyncio.StreamReader) -> Received | None:
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    headers: dict[str, str] = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(headers=headers, body=loads(body))


def _response(status: str, body: str, headers: str = "") -> bytes:
    encoded = body.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(encoded)}\r\n{headers}\r\n"
    )
    return head.encode() + encoded


def _chunk(text: str) -> bytes:
    encoded = text.encode()
    return f"{len(encoded):x}\r\n".encode() + encoded + b"\r\n"


def _message(model: str, body: Object) -> tuple[Object, str]:
    """Return the assistant's message and the finish reason of a model's answer."""
    last: Object = body["messages"][-1]
    if model == "tools" and last["role"] != "tool":
        calls = [
            _call(0, "weather", dumps({"city": "Oslo"})),
            _call(1, "weather", dumps({"city": "Rome"})),
        ]
        return {"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls"
    if model == "garbled_call":
        calls = [_call(0, "weather", '{"city": "Oslo')]
        return {"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls"
    if model == "cut":
        return {"role": "assistant", "content": "and then"}, "length"
    if "response_format" in body:
        return {"role": "assistant", "content": dumps({"city": "Oslo", "degrees": 3})}, "stop"
    return {"role": "assistant", "content": f"You said: {last['content']}"}, "stop"


def _call(index: int, name: str, arguments: str) -> Object:
    function = {"name": name, "arguments": arguments}
    return {"index": index, "id": f"call_{index + 1}", "type": "function", "function": function}


def _completion(model: str, body: Object) -> Object:
    message, finish = _message(model, body)
    choice = {"index": 0, "message": message, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model}
    return head | {"choices": [choice], "usage": USAGE}


def event(delta: Object, finish: str | None = None, **more: Any) -> Object:
    """Return an event of a stream with a piece of the answer."""
    head: Object = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
    head["choices"] = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return head | more


def _events(model: str, body: Object) -> Iterator[Object]:
    message, finish = _message(model, body)
    yield event({"role": "assistant", "content": ""})
    for word in str(message["content"] or "").split(" "):
        if word:
            yield event({"content": word + " "})
    calls: list[dict[str, Any]] = message.get("tool_calls", [])
    for call in calls:
        whole: str = call["function"]["arguments"]
        named = {"name": call["function"]["name"], "arguments": ""}
        yield event({"tool_calls": [call | {"function": named}]})
        for half in (whole[: len(whole) // 2], whole[len(whole) // 2 :]):
            part = {"index": call["index"], "function": {"arguments": half}}
            yield event({"tool_calls": [part]})
    yield event({}, finish)
    options: Object = body.get("stream_options") or {}
    if options.get("include_usage"):
        yield event({}, choices=[], usage=USAGE)
