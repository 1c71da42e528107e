"""One MCP request as the handlers of this adapter see it, whichever transport brought it.

The SDK's own context is one implementation (`sdk_exchange`), the fast path of
the HTTP transport another. Handlers that take an `Exchange` return the result
body as a plain object, complete for its protocol version.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Protocol, cast

from llmspell.security.principals import Caller
from llmspell.values import JSON, Object

TASKS = "io.modelcontextprotocol/tasks"
"""The tasks extension (SEP-2663)."""


class NoBackChannel(Exception):
    """This request's transport cannot carry a request of the server to the client."""


@dataclass(frozen=True, slots=True)
class Client:
    """What a client says of itself: in `initialize`, or with each request (2026-07-28)."""

    name: str = ""
    version: str = ""
    extensions: AbstractSet[str] = frozenset()
    elicits_forms: bool = False
    """Whether it can show a form to its user."""
    elicits_urls: bool = False
    """Whether it can open a page for its user."""
    samples: bool = False
    lists_roots: bool = False

    @property
    def knows_tasks(self) -> bool:
        """Whether a call may be answered with a task."""
        return TASKS in self.extensions


class Exchange(Protocol):
    """One request and the ways back to who sent it."""

    @property
    def caller(self) -> Caller:
        """Who calls, with the session of this request and what it brought beyond the input."""
        ...

    @property
    def client(self) -> Client:
        """The program that calls."""
        ...

    @property
    def is_modern(self) -> bool:
        """Whether the request is one of 2026-07-28: no session, no request to the client."""
        ...

    @property
    def meta(self) -> Object:
        """The request's `_meta`, `{}` when it has none."""
        ...

    @property
    def progress_token(self) -> JSON:
        """The token under which the client wants to hear of progress, or None."""
        ...

    @property
    def log_level(self) -> str | None:
        """The least level of log messages the client wants for this request, or None = none."""
        ...

    @property
    def key(self) -> str | None:
        """The idempotency key that the transport gives this request, or None."""
        ...

    @property
    def was_cancelled(self) -> bool:
        """Whether the client has cancelled the request, as opposed to lost its connection.

        Over modern HTTP a closed response stream is a cancel; a broken pipe never is.
        """
        ...

    def began(self, run_id: str) -> None:
        """Learn which run the request is answered from: a client that loses the answer is told."""
        ...

    async def notify(self, method: str, params: Object) -> None:
        """Send a notification that belongs to this request. A client that left is no error."""
        ...

    async def request(self, method: str, params: Object) -> Object:
        """Ask the client something and return its result (protocol versions before 2026-07-28).

        Cancelling the wait cancels the request at the client.

        Raises:
            NoBackChannel: There is no way, or the client has left.
            MCPError: The client answered with an error.
        """
        ...


def client_of(info: Any, capabilities: Object) -> Client:
    """Return the client that sent these, as JSON: `clientInfo` and its capabilities."""
    said = _object(info)
    elicitation = capabilities.get("elicitation")
    can_elicit = isinstance(elicitation, dict)
    modes = _object(elicitation)
    return Client(
        name=str(said.get("name", "")),
        version=str(said.get("version", "")),
        extensions=frozenset(_object(capabilities.get("extensions"))),
        # An empty capability means forms: url mode came later (2025-11-25).
        elicits_forms=can_elicit and ("form" in modes or "url" not in modes),
        elicits_urls="url" in modes,
        samples="sampling" in capabilities,
        lists_roots="roots" in capabilities,
    )


def _object(value: Any) -> Object:
    return cast(Object, value) if isinstance(value, dict) else {}
