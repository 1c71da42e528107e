"""What a client has asked and was not answered yet: what a new owner must be asked again.

What an owner was asked is bounded in number and bytes. What does not fit stays
noted, because it is owed an answer, but its line is not kept: when the owner dies
it is answered with an error that says so.
"""

from __future__ import annotations

import os
import time
from typing import Any, NamedTuple

MAX_REQUESTS = 1024
MAX_BYTES = 32 << 20
"""How many requests, and how many bytes of them, are kept to be asked again."""

MAX_USED = 4096
"""How many request ids are remembered before the client's ids get a new name space."""

CANCEL_SECONDS = 2.0
"""For how long a cancelled request is kept: until the owner has certainly taken that in."""


class Asked:
    """A request that is owed an answer."""

    __slots__ = ("bridge", "cancel", "cancelled_at", "identifier", "is_standing", "line")

    def __init__(self, identifier: Any, line: bytes, bridge: str, *, is_standing: bool) -> None:
        self.identifier = identifier
        self.line: bytes | None = line
        """As it came, without its newline; None when it did not fit."""
        self.bridge = bridge
        """Under which id of the bridge it was asked."""
        self.is_standing = is_standing
        """Whether it is answered only when it ends, like `subscriptions/listen`."""
        self.cancel: bytes | None = None
        """The notification that cancelled it."""
        self.cancelled_at = 0.0


class Lost(NamedTuple):
    """What is to be done with what an owner left unanswered."""

    again: list[Asked]
    given_up: list[Asked]


class Ledger:
    """The unanswered requests of one client, in the order they were asked.

    An owner knows a request by the bridge's id and the client's id of it. A
    client may use an id a second time once it was answered; so that the owner
    does not take that for the first request again, the bridge then goes on
    under another id of its own.
    """

    def __init__(self) -> None:
        self.bridge = _new_id()
        """The id under which new requests are asked."""
        self._asked: dict[str, Asked] = {}
        self._kept: dict[str, Asked] = {}  # those of them whose lines are kept
        self._used: set[str] = set()
        self.bytes = 0
        """Size of the lines that are kept."""
        self._standing = 0

    def __contains__(self, key: str) -> bool:
        return key in self._asked

    def __len__(self) -> int:
        return len(self._asked)

    @property
    def is_owing(self) -> bool:
        """Whether a request waits for an answer that comes by itself."""
        return len(self._asked) > self._standing

    def add(self, key: str, identifier: Any, line: bytes, *, is_standing: bool = False) -> Asked:
        """Note a request and return what is known of it."""
        self._forget_cancelled()
        if key in self._used or len(self._used) >= MAX_USED:
            self.bridge = _new_id()
            self._used.clear()
        self._used.add(key)
        self.settle(key)
        asked = Asked(identifier, line, self.bridge, is_standing=is_standing)
        self._asked[key] = self._kept[key] = asked
        self.bytes += len(line)
        self._standing += is_standing
        return asked

    def cancel(self, key: str, line: bytes) -> None:
        """Note that the client no longer wants an answer."""
        asked = self._asked.get(key)
        if asked is None:
            return
        asked.cancel = line
        asked.cancelled_at = time.monotonic()
        if not asked.is_standing:
            asked.is_standing = True
            self._standing += 1

    def settle(self, key: str) -> bool:
        """Note that a request was answered; return whether it was owed one."""
        asked = self._asked.pop(key, None)
        if asked is None:
            return False
        self._standing -= asked.is_standing
        if asked.line is not None:
            del self._kept[key]
            self.bytes -= len(asked.line)
        return True

    def lose(self) -> Lost:
        """The owner has died: return what to ask again, and drop and return what can't be."""
        self._forget_cancelled()
        given_up = {key: asked for key, asked in self._asked.items() if asked.line is None}
        for key in given_up:
            self.settle(key)
        return Lost(list(self._asked.values()), list(given_up.values()))

    def drop_all(self) -> list[Asked]:
        """Drop everything and return what the client still waits for."""
        dropped = [asked for asked in self._asked.values() if asked.cancel is None]
        self._asked.clear()
        self._kept.clear()
        self.bytes = self._standing = 0
        return dropped

    def unanswered(self) -> list[tuple[str, Asked]]:
        """Return what is noted, by key."""
        return list(self._asked.items())

    def hold_bounds(self) -> None:
        """Forget the oldest lines beyond the bounds. An owner has been asked them all."""
        while self.bytes > MAX_BYTES or len(self._kept) > MAX_REQUESTS:
            asked = self._kept.pop(next(iter(self._kept)))
            assert asked.line is not None
            self.bytes -= len(asked.line)
            asked.line = None

    def _forget_cancelled(self) -> None:
        if not self._standing:
            return
        end = time.monotonic() - CANCEL_SECONDS
        over = [
            key
            for key, asked in self._asked.items()
            if asked.cancel is not None and asked.cancelled_at < end
        ]
        for key in over:
            self.settle(key)


def _new_id() -> str:
    return os.urandom(9).hex()
