"""One request of any binding to its answer: the only way from a wire to the handler.

Knows every method by name, which version of A2A is spoken, and what an error
looks like; knows no sockets. The HTTP and the WebSocket binding therefore
answer alike, error for error.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing

from a2a.utils.errors import InvalidRequestError, MethodNotFoundError, VersionNotSupportedError

from llmspell.endpoints.a2a import requests
from llmspell.endpoints.a2a.errors import error_of
from llmspell.endpoints.a2a.handler import TaskHandler
from llmspell.security.principals import Caller
from llmspell.values import JSON, Object
from llmspell_protocols.a2a.methods import METHODS, is_streaming
from llmspell_protocols.jsonrpc import Error

VERSION_PARAMETER = "a2a-version"
SUPPORTED_VERSIONS = ("1.0",)

_VERSION = re.compile(r"1(\.\d+)*")


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
            _check_version(parameters)
            perform = self._unary.get(method)
            if perform is None:
                raise _no_method(method)
            return await perform(params, caller)
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
            _check_version(parameters)
            begin = self._streams.get(method)
            if begin is None:
                raise _no_method(method)
            async with aclosing(begin(params, caller)) as items:
                async for item in items:
                    yield item
        except Exception as error:  # the last place that can turn an error into an answer
            raise RequestFailed(error_of(error)) from error


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
