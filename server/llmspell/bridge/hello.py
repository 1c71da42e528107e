"""The first line each way on the owner's socket, and which of two builds is the newer.

The client says `{protocol, build, pid, role, bridge?}`, the owner answers
`{protocol, build, pid, keeper?}` or `{error, protocol, build, pid}`. After that a
connection is its role's. On one of role `mcp` lines that begin with `!` are
between owner and bridge, and no client sees them:

- `!ping` is answered with `!pong`;
- `!bridge ID` says that what follows is asked under another id than the hello's;
- `!stopped` says that the owner ends because it was told to.
"""

from __future__ import annotations

import json
import os
from typing import Any

from llmspell import __version__

PROTOCOL = 2
"""Number of the protocol on the socket; both sides must speak the same."""

MAX_HELLO_BYTES = 4096

MAX_MESSAGE = 10 << 20
"""Longest message of MCP in bytes, its newline included."""

HELLO_SECONDS = 10.0
"""How long the other side may take to say it."""

DRAIN = "drain"
"""The role by which a newer build asks an owner to end. Answered whatever the protocol."""

PRIVATE = b"!"
PING, PONG = b"!ping", b"!pong"
BRIDGE = b"!bridge "
STOPPED = b"!stopped"


class UnreachableError(Exception):
    """No owner could be used. `code`, `hint` and `cause` are those of an error object."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "owner.unreachable",
        hint: str = "the state directory's log/owner.log says why",
        cause: dict[str, Any] | None = None,
        pid: int | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint
        self.cause = cause
        """The error object the owner itself failed with, when it could say."""
        self.pid = pid
        """The owner, when there is one that can't be used."""
        self.retryable = retryable
        """Whether the same may succeed in a moment."""


def hello(role: str, bridge: str = "", bundle: str = "") -> bytes:
    """Return the line a client begins with.

    Args:
        bridge: Under which id a bridge will ask.
        bundle: Whose spells it wants to be served; "" = everything.
    """
    said: dict[str, Any] = {
        "protocol": PROTOCOL,
        "build": __version__,
        "pid": os.getpid(),
        "role": role,
    }
    if bridge:
        said["bridge"] = bridge
    if bundle:
        said["bundle"] = bundle
    return json.dumps(said).encode() + b"\n"


def parse(line: bytes) -> dict[str, Any]:
    """Return what an owner answered.

    Raises:
        UnreachableError: No owner answers like this.
    """
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UnreachableError("what answers on the owner's socket is no owner of llmspell")
    return value  # pyright: ignore[reportUnknownVariableType]  # JSON has string keys


def is_newer(protocol: object, build: object, than_protocol: object, than_build: object) -> bool:
    """Return whether the first of two builds is newer; what can't be read is never."""
    ours, theirs = _rank(protocol, build), _rank(than_protocol, than_build)
    return ours is not None and theirs is not None and ours > theirs


def _rank(protocol: object, build: object) -> tuple[int, tuple[int, ...]] | None:
    if not isinstance(protocol, int) or not isinstance(build, str):
        return None
    numbers: list[int] = []
    for part in build.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return (protocol, tuple(numbers))
