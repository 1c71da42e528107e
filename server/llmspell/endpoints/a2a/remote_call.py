"""Call a remote agent once: its card, a message, what it says while it works, what came of it.

The WebSocket binding is tried first, then JSON-RPC. What `llmspell call` does,
without a terminal.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast
from urllib.parse import urlsplit

import httpx
from a2a.client.card_resolver import A2ACardResolver
from a2a.client.client import ClientCallContext
from a2a.client.errors import AgentCardResolutionError
from a2a.client.transports.base import ClientTransport
from a2a.client.transports.jsonrpc import JsonRpcTransport
from a2a.types import a2a_pb2 as pb
from a2a.utils.constants import VERSION_HEADER
from a2a.utils.errors import A2A_ERROR_REASONS, A2AError
from google.protobuf.json_format import MessageToDict, ParseDict

from llmspell.endpoints.a2a.client import (
    ConnectionFailedError,
    ConnectionLostError,
    WebSocketTransport,
)
from llmspell.endpoints.a2a.mapping import SOURCE_KEY
from llmspell.endpoints.a2a.requests import SKILL_KEY
from llmspell.errors import OwnerStopping, RemoteError, RemoteUnreachable
from llmspell.values import JSON, Object
from llmspell_protocols.a2a.connection import BINDING_ALIASES

CONNECT_SECONDS = 10.0
"""Longest time the card, and a connection, may take. The call itself may take any."""

TOKEN_HINT = (
    "the agent asks for a token: pass --token; a llmspell server keeps its own in the file "
    "'token' of its state directory"
)

_T = TypeVar("_T")
_CARD_PATH = ".json"


@dataclass(frozen=True, slots=True)
class RemoteEvent:
    """Something the agent said while it worked."""

    kind: Literal["text", "status"]
    """`text`: a piece of an output; `status`: about the work, e.g. progress or a draft."""
    text: str
    source: str = ""
    """The agent behind the agent whose words these are, where it says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOutcome:
    """What came of a call."""

    state: str
    """The task's state in lower case: completed, failed, input_required, ..."""
    text: str
    """The output as text; else what the status says: the question, or the error."""
    output: JSON
    """The output: a text, or the value of a data part; None when there is none."""
    task: Object
    """The whole task as A2A JSON; empty when the agent answered with a message."""
    binding: str
    """`protocolBinding` of the interface that was used."""


async def call(
    url: str,
    message: str | Object,
    *,
    skill: str | None = None,
    token: str | None = None,
    on_event: Callable[[RemoteEvent], None] | None = None,
) -> RemoteOutcome:
    """Send a message to a remote agent and return what came of it.

    A task that failed or asks something is an outcome, not an exception.

    Args:
        url: Where the agent is, or the URL of its card.
        message: A text, or an object that is sent as data.
        skill: Skill the message is for, by id.
        token: Bearer token; sent to the host of `url` only, whatever the card says.
        on_event: Called with everything the agent says, as it says it.

    Raises:
        RemoteUnreachable: The card or every interface of it could not be reached, or the
            connection was lost.
        RemoteError: The agent refused, or there is no interface that can be used.
    """
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            httpx.AsyncClient(timeout=httpx.Timeout(None, connect=CONNECT_SECONDS))
        )
        card = await _card(http, url)
        transport, binding, context = await _connect(http, card, url, token)
        stack.push_async_callback(transport.close)
        result = _Result(binding, on_event)
        try:
            async for item in _send(transport, card, _request(message, skill), context):
                result.take(item)
        except ConnectionLostError as error:
            hint = "the task may still be at work; call again, or ask for it by its id"
            raise RemoteUnreachable(error.message, hint=hint) from None
        except A2AError as error:
            raise _refused(error) from None
        return result.outcome()


async def _card(http: httpx.AsyncClient, url: str) -> pb.AgentCard:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    base, path = f"{parts.scheme}://{parts.netloc}", parts.path
    resolver = A2ACardResolver(http, base if path.endswith(_CARD_PATH) else base + path)
    own_path = path if path.endswith(_CARD_PATH) else None
    try:
        return await resolver.get_agent_card(
            own_path, http_kwargs={"timeout": httpx.Timeout(CONNECT_SECONDS)}
        )
    except AgentCardResolutionError as error:
        hint = "the URL is that of the agent's host, e.g. http://127.0.0.1:7777; is it running?"
        raise RemoteUnreachable(f"no agent card: {error.message}", hint=hint) from None


async def _connect(
    http: httpx.AsyncClient, card: pb.AgentCard, url: str, token: str | None
) -> tuple[ClientTransport, str, ClientCallContext]:
    """Return an open transport: the card's WebSocket interface, else its JSON-RPC one."""
    failure: ConnectionFailedError | None = None
    for interface in _interfaces(card):
        parameters = {VERSION_HEADER: "1.0"}
        if token and _host_of(interface.url) == _host_of(url):
            parameters["Authorization"] = f"Bearer {token}"
        context = ClientCallContext(service_parameters=parameters)
        binding = interface.protocol_binding
        if binding == "JSONRPC":
            transport = JsonRpcTransport(http, card, interface.url, is_shared_httpx=True)
            return transport, binding, context
        socket = WebSocketTransport(card, interface.url)
        try:
            await socket.open(context)
        except ConnectionFailedError as error:
            if error.status in (401, 403):
                raise _refused(error) from None
            failure = error
        else:
            return socket, binding, context
    if failure is not None:
        raise RemoteUnreachable(failure.message)
    offered = ", ".join(each.protocol_binding for each in card.supported_interfaces) or "none"
    raise RemoteError(
        f"the agent {card.name!r} offers no interface this client speaks: {offered}",
        hint="this client speaks A2A 1.x over WebSocket and JSON-RPC",
    )


def _interfaces(card: pb.AgentCard) -> list[pb.AgentInterface]:
    wanted = [*BINDING_ALIASES, "JSONRPC"]
    found = [
        each
        for each in card.supported_interfaces
        if each.protocol_binding in wanted and each.protocol_version.startswith("1")
    ]
    return sorted(found, key=lambda each: wanted.index(each.protocol_binding))


def _host_of(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    standard = 443 if parts.scheme in ("https", "wss") else 80
    return parts.hostname, parts.port or standard


def _request(message: str | Object, skill: str | None) -> pb.SendMessageRequest:
    part = {"text": message} if isinstance(message, str) else {"data": message}
    body: Object = {"messageId": str(uuid.uuid4()), "role": "ROLE_USER", "parts": [part]}
    if skill is not None:
        body["metadata"] = {SKILL_KEY: skill}
    return ParseDict({"message": body}, pb.SendMessageRequest())


async def _send(
    transport: ClientTransport,
    card: pb.AgentCard,
    request: pb.SendMessageRequest,
    context: ClientCallContext,
) -> AsyncIterator[pb.StreamResponse]:
    if card.capabilities.streaming:
        async for item in transport.send_message_streaming(request, context=context):
            yield item
        return
    answer = await transport.send_message(request, context=context)
    if answer.HasField("message"):
        yield pb.StreamResponse(message=answer.message)
    else:
        yield pb.StreamResponse(task=answer.task)


def _refused(error: A2AError) -> RemoteError:
    cause = error.__cause__
    status = error.status if isinstance(error, ConnectionFailedError) else None
    if isinstance(cause, httpx.HTTPStatusError):
        status = cause.response.status_code
    if status in (401, 403):
        return RemoteError(f"the agent refused the call: {error.message}", hint=TOKEN_HINT)
    if isinstance(cause, httpx.RequestError):
        return RemoteUnreachable(error.message)
    data = cast("Object", getattr(error, "data", None) or {})
    hint = data.get("hint")
    if data.get("code") == OwnerStopping.code:  # one of ours, which is back in a moment
        return RemoteUnreachable(error.message, hint=hint)
    reason = A2A_ERROR_REASONS.get(type(error), "").lower().replace("_", " ")
    message = f"the agent says {reason!r}: {error.message}" if reason else error.message
    return RemoteError(message, hint=hint if isinstance(hint, str) else None, data=data or None)


class _Result:
    """Folds stream items into an outcome, and tells what was said."""

    def __init__(self, binding: str, on_event: Callable[[RemoteEvent], None] | None) -> None:
        self._binding = binding
        self._on_event = on_event
        self._task: Object = {}
        self._artifacts: dict[str, Object] = {}
        self._message: Object | None = None

    def take(self, item: pb.StreamResponse) -> None:
        body = _whole(MessageToDict(item))
        if "task" in body:
            self._task = body["task"]
            for artifact in self._task.get("artifacts", []):
                self._add(artifact, append=False)
        elif "message" in body:
            message: Object = body["message"]
            self._message = message
            self._say("text", message)
        elif "statusUpdate" in body:
            self._task["status"] = body["statusUpdate"]["status"]
            self._say("status", self._task["status"].get("message", {}))
        elif "artifactUpdate" in body:
            update: Object = body["artifactUpdate"]
            self._add(update["artifact"], append=update.get("append", False))

    def outcome(self) -> RemoteOutcome:
        if self._artifacts:
            self._task["artifacts"] = list(self._artifacts.values())
        status: Object = self._task.get("status", {})
        said = self._message or status.get("message", {})
        output: JSON = _output(self._message)
        if self._artifacts:
            output = _output(next(reversed(self._artifacts.values())))
        state = str(status.get("state", "TASK_STATE_COMPLETED"))
        return RemoteOutcome(
            state=state.removeprefix("TASK_STATE_").lower(),
            text=output if isinstance(output, str) else _text(said),
            output=output,
            task=self._task,
            binding=self._binding,
        )

    def _add(self, artifact: Object, *, append: bool) -> None:
        known = self._artifacts.get(artifact["artifactId"])
        if append and known is not None:
            known["parts"] += artifact["parts"]
        else:
            self._artifacts[artifact["artifactId"]] = artifact
        self._say("text", artifact)

    def _say(self, kind: Literal["text", "status"], container: Object) -> None:
        text = _text(container)
        if text and self._on_event is not None:
            source = str(container.get("metadata", {}).get(SOURCE_KEY, ""))
            self._on_event(RemoteEvent(kind, text, source or str(container.get("name", ""))))


def _text(container: Object) -> str:
    return "".join(part["text"] for part in container.get("parts", []) if "text" in part)


def _output(container: Object | None) -> JSON:
    """Return the value of the one data part, else the text."""
    if container is None:
        return None
    data = [part["data"] for part in container.get("parts", []) if "data" in part]
    return data[0] if len(data) == 1 else _text(container)


def _whole(value: _T) -> _T:
    """Undo what protobuf does to whole numbers: 3 became 3.0."""
    found: Any = value
    if isinstance(found, dict):
        table = cast("Object", found)
        return cast("_T", {name: _whole(each) for name, each in table.items()})
    if isinstance(found, list):
        return cast("_T", [_whole(each) for each in cast("list[Any]", found)])
    if isinstance(found, float) and found.is_integer():
        return cast("_T", int(found))
    return value
