"""One request of any binding to its answer: the only way from a wire to the handler.

Knows every method by name, which version of A2A is spoken, what an error looks
like, and when the server ends; knows no sockets. The HTTP and the WebSocket
binding therefore answer alike, error for error.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import aclosing, contextmanager
from typing import TypeVar

from a2a.utils.errors import InvalidRequestError, MethodNotFoundError, VersionNotSupportedError

from llmspell.endpoints.a2a import requests
from llmspell.endpoints.a2a.errors import error_of
from llmspell.endpoints.a2a.handler import TaskHandler
from llmspell.errors import OwnerStopping
from llmspell.security.principals import Caller
from llmspell.values import JSON, Object
from llmspell_protocols.a2a.methods import METHODS, is_streaming
from llmspell_protocols.jsonrpc import Error

VERSION_PARAMETER = "a2a-version"
SUPPORTED_VERSIONS = ("1.0",)

_VERSION = re.compile(r"1(\.\d+)*")

_T = TypeVar("_T")


class RequestFailed(Exception):
    """A request was refused or went wrong; `error` is what the client is told."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.message)
        self.error = error


class Dispatcher:
    """Answers requests with a handler."""

    def __init__(self, handler: TaskHandler) -> None:
        self._unary: dict[str, Callable[[Object, Caller], Awaitable[JSON]]] = {
            "SendMessage": lambda params, caller: handler.send(
                requests.send_request(params), caller
            ),
            "GetTask": lambda params, caller: handler.get(requests.get_request(params), caller),
            "ListTasks": lambda params, caller: handler.list(requests.list_request(params), caller),
            "CancelTask": lambda params, caller: handler.cancel(
                requests.cancel_request(params), caller
            ),
            "GetExtendedAgentCard": lambda _params, _caller: handler.extended_card(),
        }
        for name in METHODS:
            if name.endswith(("PushNotificationConfig", "PushNotificationConfigs")):
                self._unary[name] = lambda _params, _caller: handler.push_config()
        self._streams: dict[str, Callable[[Object, Caller], AsyncGenerator[Object]]] = {
            "SendStreamingMessage": lambda params, caller: handler.send_stream(
                requests.send_request(params), caller
            ),
            "SubscribeToTask": lambda params, caller: handler.subscribe(
                requests.subscribe_request(params), caller
            ),
        }
        self._is_draining = False
        self._is_over = False
        self._under_way = 0
        self._idle = asyncio.Event()
        self._waiting: set[asyncio.Task[object]] = set()

    async def drain(self, seconds: float) -> None:
        """Take nothing new, let requests under way end for so long, then end them with an error.

        Their tasks go on, with the next server where this one does not finish them.
        """
        self._is_draining = True
        self._idle.clear()
        if self._under_way:
            try:
                async with asyncio.timeout(seconds):
                    await self._idle.wait()
            except TimeoutError:
                pass  # the time is up: what still waits is told so
        self._is_over = True
        for task in self._waiting:
            task.cancel()

    async def call(
        self, method: str, params: Object, parameters: Mapping[str, str], caller: Caller
    ) -> JSON:
        """Return the result of a unary method.

        Args:
            parameters: The service parameters, names in lower case.

        Raises:
            RequestFailed: With what the client is to be told, whatever went wrong.
        """
        try:
            with self._request():
                _check_version(parameters)
                perform = self._unary.get(method)
                if perform is None:
                    raise _no_method(method)
                return await self._until_over(lambda: perform(params, caller))
        except Exception as error:  # the last place that can turn an error into an answer
            raise RequestFailed(error_of(error)) from error

    async def stream(
        self, method: str, params: Object, parameters: Mapping[str, str], caller: Caller
    ) -> AsyncGenerator[Object]:
        """Yield the items of a streaming method; close the generator to leave the stream.

        Args:
            parameters: The service parameters, names in lower case.

        Raises:
            RequestFailed: With what the client is to be told, whatever went wrong.
        """
        try:
            with self._request():
                _check_version(parameters)
                begin = self._streams.get(method)
                if begin is None:
                    raise _no_method(method)
                async with aclosing(begin(params, caller)) as items:
                    while item := await self._until_over(lambda: anext(items, None)):
                        yield item
        except Exception as error:  # the last place that can turn an error into an answer
            raise RequestFailed(error_of(error)) from error

    @contextmanager
    def _request(self) -> Generator[None]:
        """Count a request that is under way.

        Raises:
            OwnerStopping: Nothing new is taken.
        """
        if self._is_draining:
            raise OwnerStopping("the server is shutting down")
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _until_over(self, begin: Callable[[], Awaitable[_T]]) -> _T:
        """Wait for a part of a request.

        Raises:
            OwnerStopping: The server ends first.
        """
        if self._is_over:
            raise _stopping()
        task = asyncio.current_task()
        assert task is not None
        self._waiting.add(task)
        try:
            return await begin()
        except asyncio.CancelledError:
            if not self._is_over or task.uncancel():
                raise  # its client has left
            raise _stopping() from None
        finally:
            self._waiting.discard(task)


def _stopping() -> OwnerStopping:
    hint = "the task may still be at work; ask for it by its id in a moment"
    return OwnerStopping("the server is shutting down", hint=hint)


def _check_version(parameters: Mapping[str, str]) -> None:
    """Refuse what is not 1.x: specification 3.6.2, where no version means 0.3."""
    version = parameters.get(VERSION_PARAMETER, "").strip()
    if _VERSION.fullmatch(version):
        return
    supported = ", ".join(SUPPORTED_VERSIONS)
    asked = repr(version) if version else "'0.3' (which no A2A-Version means)"
    raise VersionNotSupportedError(
        f"A2A version {asked} is not supported; supported: {supported}",
        {"supportedVersions": supported},
    )


def _no_method(method: str) -> MethodNotFoundError | InvalidRequestError:
    if method in METHODS:
        kind = "a stream" if is_streaming(method) else "one result"
        return InvalidRequestError(f"{method!r} answers with {kind}")
    return MethodNotFoundError(f"there is no method {method!r}")
