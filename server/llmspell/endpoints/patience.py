"""How long clients may keep the server waiting, and how it is found out that one does.

Nothing of a protocol: what a client owes is said by whoever speaks with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from uvicorn.server import ServerState

CONNECTIONS = 1000
"""Connections that are open at once, unless the settings say otherwise."""

REQUEST_WITHIN = 20.0
"""Seconds a client may keep the server waiting, unless the settings say otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What clients may hold open, in the words of `[server]`."""

    connections: int = CONNECTIONS
    request_within: float = REQUEST_WITHIN


class PatientState(ServerState):
    """uvicorn's state, which every connection has a reference to."""

    def __init__(self, limits: ConnectionLimits) -> None:
        super().__init__()
        self.limits = limits


class Patience:
    """Compares what one client owes with what it owed at the look before.

    Args:
        seconds: How long the same may be owed without a part of it having come.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._owed: tuple[object, int] | None = None
        self._since = 0.0

    def is_over(self, owed: tuple[object, int] | None, now: float) -> bool:
        """Return whether the client has owed the same for too long.

        Args:
            owed: What it is (the same object as long as it is the same thing) and how much of it
                has come, or is left; None when it owes nothing.
            now: The time of the loop.
        """
        last, self._owed = self._owed, owed
        if owed is None:
            return False
        if last is None or last[0] is not owed[0] or last[1] != owed[1]:
            self._since = now
            return False
        return now - self._since >= self._seconds
