"""One client's subscription: what it wants to hear of, and what it was not told yet.

What waits to be told is a set, not a queue: a notice says that something
changed, so one that waits stands for every later change of the same thing. A
client that does not read thus costs no more than what it subscribed to.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from llmspell.security.principals import Caller

ListKind: TypeAlias = Literal["tools", "prompts", "resources"]

LISTS: tuple[ListKind, ...] = ("tools", "prompts", "resources")
"""The lists whose changes are told of."""


class Notice(NamedTuple):
    """Something that changed."""

    about: Literal["list", "resource", "task"]
    name: str
    """The kind of list, the resource's URI, or the task's id."""


@dataclass(slots=True, eq=False)
class Subscriber:
    """What one stream, or one connection of the handshake era, hears."""

    caller: Caller
    lists: set[str] = field(default_factory=set[str])
    uris: set[str] = field(default_factory=set[str])
    tasks: set[str] = field(default_factory=set[str])
    _pending: dict[Notice, None] = field(default_factory=dict[Notice, None])
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: bool = False

    def wants(self, notice: Notice) -> bool:
        """Return whether the client asked for this."""
        match notice.about:
            case "list":
                return notice.name in self.lists
            case "resource":
                return notice.name in self.uris
            case "task":
                return notice.name in self.tasks

    def tell(self, notice: Notice) -> bool:
        """Have a notice told when the client wants it; return whether it does."""
        if self._ended or not self.wants(notice):
            return False
        self._pending[notice] = None
        self._woken.set()
        return True

    def take(self) -> Notice | None:
        """Return the notice that waits longest, or None. What changes from now on waits anew."""
        while self._pending:
            notice = next(iter(self._pending))
            del self._pending[notice]
            if self.wants(notice):  # it may have been unsubscribed meanwhile
                return notice
        return None

    async def next(self) -> Notice | None:
        """Return the next notice, waiting for one; None once the subscription has ended."""
        while (notice := self.take()) is None:
            if self._ended:
                return None
            self._woken.clear()
            await self._woken.wait()
        return notice

    def end(self) -> None:
        """Let the subscription end once what waits is told."""
        self._ended = True
        self._woken.set()
