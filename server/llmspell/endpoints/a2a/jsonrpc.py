"""The JSON-RPC binding over HTTP (specification 9): one POST, one answer or one SSE stream.

Bytes in and out only; what a request means is `dispatch`'s part. Errors are
answers with HTTP status 200, as JSON-RPC has it; only what is refused for who sent it has a
status of its own (401, 403, 429).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from a2a.utils.errors import ContentTypeNotSupportedError
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response, StreamingResponse

from llmspell.endpoints.a2a.dispatch import VERSION_PARAMETER, Dispatcher, RequestFailed
from llmspell.endpoints.a2a.errors import error_of
from llmspell.endpoints.auth.admission import outlived
from llmspell.endpoints.auth.gate import Gate
from llmspell.errors import AccessError
from llmspell.security.principals import Caller
from llmspell.values import Object
from llmspell_protocols import jsonrpc
from llmspell_protocols.a2a.methods import is_streaming
from llmspell_protocols.jsonrpc import INVALID_REQUEST, Failure, Id, ProtocolError, Result

MAX_BODY_BYTES = 4 << 20
"""Largest request, as `limits.input_bytes` has it by default."""

KEEP_ALIVE_SECONDS = 15.0
"""A stream that is silent for so long sends a comment, for proxies and for clients that wait."""

_DRAIN_BYTES = 64 << 20  # read and thrown away, so that a client gets to see why it was refused


class JsonRpcEndpoint:
    """Answers POST requests."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        gate: Gate,
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
        keep_alive_seconds: float = KEEP_ALIVE_SECONDS,
    ) -> None:
        self._dispatcher = dispatcher
        self._gate = gate
        self._max_body_bytes = max_body_bytes
        self._keep_alive_seconds = keep_alive_seconds

    async def __call__(self, request: Request) -> Response:
        """Return the answer to one request."""
        try:
            caller = await self._gate.admit(request.scope, request.headers, "a2a")
        except AccessError as error:
            return self._gate.refusal(error, "a2a")
        try:
            call = await self._read(request)
        except ProtocolError as error:
            return _answer(Failure(error.id, error.error))
        except ContentTypeNotSupportedError as error:
            return _answer(Failure(None, error_of(error)))
        parameters = service_parameters(request)
        try:
            if is_streaming(call.method):
                return await self._stream(request, call, parameters, caller)
            result = await self._dispatcher.call(call.method, call.params, parameters, caller)
        except RequestFailed as failed:
            if isinstance(failed.__cause__, AccessError):
                return self._gate.refusal(failed.__cause__, "a2a")
            return _answer(Failure(call.id, failed.error))
        return _answer(Result(call.id, result))

    async def _read(self, request: Request) -> jsonrpc.Request:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != "application/json" and not content_type.endswith("+json"):
            raise ContentTypeNotSupportedError("send the request as application/json")
        message = jsonrpc.parse(await self._body(request))
        if not isinstance(message, jsonrpc.Request):
            raise ProtocolError(INVALID_REQUEST, "send a request with an id")
        return message

    async def _body(self, request: Request) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size <= self._max_body_bytes:
                chunks.append(chunk)
            elif size > _DRAIN_BYTES:
                break
        if size > self._max_body_bytes:
            reason = f"the request is larger than {self._max_body_bytes} bytes"
            raise ProtocolError(INVALID_REQUEST, reason)
        return b"".join(chunks)

    async def _stream(
        self, request: Request, call: jsonrpc.Request, parameters: dict[str, str], caller: Caller
    ) -> Response:
        items = self._dispatcher.stream(call.method, call.params, parameters, caller)
        # What is refused at once is answered as JSON: a stream begins with its first item.
        first = await anext(items)
        return StreamingResponse(
            self._events(request, call.id, first, items),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    async def _events(
        self, request: Request, id: Id, first: Object, items: AsyncGenerator[Object]
    ) -> AsyncGenerator[bytes]:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._gate.hold(request.headers, "a2a", partial(over.set_result, None)):
            yield _event(Result(id, first))
            try:
                async with aclosing(_heard(items, over, self._keep_alive_seconds)) as heard:
                    async for item in heard:
                        yield b": keep-alive\n\n" if item is None else _event(Result(id, item))
            except RequestFailed as failed:
                yield _event(Failure(id, failed.error))
            if over.done():
                yield _event(Failure(id, error_of(outlived())))


def service_parameters(connection: HTTPConnection) -> dict[str, str]:
    """Return the A2A service parameters of an HTTP request: `a2a-` headers, lower case.

    The values of one that stands there more than once are one list (RFC 9110 5.3), so that two
    versions are none. The version may also stand in the query (specification 3.6.1).
    """
    headers = connection.headers
    parameters = {
        name: ", ".join(dict.fromkeys(headers.getlist(name)))
        for name in headers
        if name.startswith("a2a-")
    }
    if VERSION_PARAMETER not in parameters and "A2A-Version" in connection.query_params:
        parameters[VERSION_PARAMETER] = connection.query_params["A2A-Version"]
    return parameters


async def _heard(
    items: AsyncGenerator[Object], over: asyncio.Future[None], seconds: float
) -> AsyncGenerator[Object | None]:
    """Yield the items until it is over, and None whenever none has come for so long.

    Closes `items`.
    """
    next_item: asyncio.Future[Object] | None = None
    try:
        while not over.done():
            next_item = next_item or asyncio.ensure_future(anext(items))
            done, _ = await asyncio.wait(
                [next_item, over], timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                yield None
            if next_item not in done:
                continue
            try:
                item = next_item.result()
            except StopAsyncIteration:
                return
            next_item = None
            yield item
    finally:
        if next_item is not None:
            next_item.cancel()
            await asyncio.gather(next_item, return_exceptions=True)
        await items.aclose()


def _answer(message: Result | Failure) -> Response:
    return Response(jsonrpc.render(message), media_type="application/json")


def _event(message: Result | Failure) -> bytes:
    return b"data: " + jsonrpc.render(message) + b"\n\n"
