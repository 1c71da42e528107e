"""Tells connected clients that the list of tools changed, each in the way of its era.

2026-07-28: through the `subscriptions/listen` streams that clients hold open.
Before: as a notification on every connection that completed the handshake.
"""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakKeyDictionary

from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from mcp_types import NotificationParams


def connection_of(context: ServerRequestContext[Any, Any]) -> Connection:
    """Return the connection a request came by.

    The SDK has no public handle to it, and none to the list of connections; this
    is the one private name the adapter uses, held by a contract test.
    """
    return context.session._connection  # pyright: ignore[reportPrivateUsage]  # see above


class ToolChanges:
    """The clients that want to hear of changes, in both eras."""

    def __init__(self) -> None:
        self._bus = InMemorySubscriptionBus()
        self.listen = ListenHandler(self._bus)
        """Serves `subscriptions/listen`."""
        self._legacy: WeakKeyDictionary[Connection, asyncio.Task[None] | None] = WeakKeyDictionary()
        self._announcing: set[asyncio.Task[None]] = set()

    async def initialized(
        self, context: ServerRequestContext[Any, Any], params: NotificationParams
    ) -> None:
        """Serve `notifications/initialized`: from now on this connection may be told."""
        self._legacy[connection_of(context)] = None

    def announce(self) -> None:
        """Begin telling everybody. A client that does not read holds up no other."""
        self._spawn(self._bus.publish(ToolsListChanged()))
        for connection, pending in list(self._legacy.items()):
            # One that has not got through yet covers this change as well.
            if pending is None or pending.done():
                self._legacy[connection] = self._spawn(connection.send_tool_list_changed())

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._announcing.add(task)
        task.add_done_callback(self._announcing.discard)
        return task

    async def close(self) -> None:
        """End every open listen stream, as the specification says: with its result."""
        self.listen.close()
        for task in list(self._announcing):
            task.cancel()
        await asyncio.gather(*self._announcing, return_exceptions=True)
