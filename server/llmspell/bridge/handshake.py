"""What a client of protocol revisions up to 2025-11-25 has agreed with an owner: the handshake,
and the wishes that hold for the connection. A new owner must be shown it.
"""

from __future__ import annotations

import json
import os
from typing import Any

from llmspell.bridge.lines import key_of, member

MAX_SUBSCRIPTIONS = 1000
"""How many are shown to another owner; an owner takes no more from one connection."""

_SUBSCRIBE = "resources/subscribe"
_UNSUBSCRIBE = "resources/unsubscribe"
_SET_LEVEL = "logging/setLevel"
WISHES = (_SUBSCRIBE, _UNSUBSCRIBE, _SET_LEVEL)
"""Requests whose effect lasts as long as the connection."""


class Handshake:
    """The handshake a client has made, as far as it has got."""

    def __init__(self) -> None:
        self._initialize: dict[str, Any] | None = None
        self._initialized: bytes | None = None
        self._accepted = False
        self._shown = f"llmspell-bridge-{os.getpid()}"
        self._asked: dict[str, dict[str, Any]] = {}
        self._wishes: dict[str, dict[str, Any]] = {}

    @property
    def accepted(self) -> dict[str, Any] | None:
        """The client's request, once it was answered with a result."""
        return self._initialize if self._accepted else None

    @property
    def shown_key(self) -> str:
        """Key of the request `lines` repeats; its answer is not the client's."""
        return key_of(self._shown)

    def begin(self, initialize: dict[str, Any]) -> None:
        """Note the client's `initialize`."""
        self._initialize = initialize
        self._initialized = None
        self._accepted = False
        self._asked.clear()
        self._wishes.clear()

    def complete(self, initialized: bytes) -> None:
        """Note the client's `notifications/initialized`, a line without its newline."""
        self._initialized = initialized

    def wish(self, key: str, message: dict[str, Any]) -> None:
        """Note a request of `WISHES`; it counts once it is answered with a result."""
        self._asked[key] = message

    def answered(self, key: str, *, good: bool) -> None:
        """Note that a request was answered, whichever it was."""
        asked = self._asked.pop(key, None)
        if asked is not None and good:
            self._grant(asked)
        if self._initialize is not None and key == key_of(self._initialize["id"]):
            self._accepted = self._accepted or good

    def _grant(self, asked: dict[str, Any]) -> None:
        method = asked["method"]
        about = member(asked, "params", "uri")
        if method == _SET_LEVEL:
            self._wishes[_SET_LEVEL] = asked
        elif not isinstance(about, str):
            return
        elif method == _UNSUBSCRIBE:
            self._wishes.pop(f"{_SUBSCRIBE} {about}", None)
        elif len(self._wishes) < MAX_SUBSCRIPTIONS:
            self._wishes[f"{_SUBSCRIBE} {about}"] = asked

    def wishes(self) -> list[tuple[str, bytes]]:
        """Return what shows another owner the wishes that were granted: requests, by their keys.

        Their answers are not the client's.
        """
        if not self._accepted:
            return []
        found: list[tuple[str, bytes]] = []
        for number, asked in enumerate(self._wishes.values()):
            identifier = f"{self._shown}-{number}"
            again = {**asked, "id": identifier}
            found.append((key_of(identifier), json.dumps(again).encode()))
        return found

    def follows(self, key: str) -> bytes | None:
        """Return what is to be said right after a request is asked anew, if anything."""
        if self._accepted or self._initialize is None or key != key_of(self._initialize["id"]):
            return None
        return self._initialized

    def lines(self) -> list[bytes]:
        """Return what shows the handshake to another owner; nothing before it was accepted."""
        if not self._accepted or self._initialize is None:
            return []
        again = json.dumps({**self._initialize, "id": self._shown}).encode()
        return [again] if self._initialized is None else [again, self._initialized]
