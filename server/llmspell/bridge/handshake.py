"""The handshake of protocol revisions up to 2025-11-25, which a new owner must be shown."""

from __future__ import annotations

import json
import os
from typing import Any

from llmspell.bridge.lines import key_of


class Handshake:
    """The handshake a client has made, as far as it has got."""

    def __init__(self) -> None:
        self._initialize: dict[str, Any] | None = None
        self._initialized: bytes | None = None
        self._accepted = False
        self._shown = f"llmspell-bridge-{os.getpid()}"

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

    def complete(self, initialized: bytes) -> None:
        """Note the client's `notifications/initialized`, a line without its newline."""
        self._initialized = initialized

    def answered(self, key: str, *, good: bool) -> None:
        """Note that a request was answered, whichever it was."""
        if self._initialize is not None and key == key_of(self._initialize["id"]):
            self._accepted = self._accepted or good

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
