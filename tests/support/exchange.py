"""An exchange that writes down what is said on it, for tests of what is said."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from llmspell.endpoints.mcp.exchange import Client, NoBackChannel
from llmspell.security.principals import Caller, local_caller
from llmspell.values import JSON, Object


@dataclass
class RecordingExchange:
    """See `Exchange`."""

    is_modern: bool = True
    client: Client = field(default_factory=Client)
    caller: Caller = field(default_factory=lambda: local_caller("mcp"))
    meta: Object = field(default_factory=dict[str, JSON])
    progress_token: JSON = None
    log_level: str | None = None
    key: str | None = None
    was_cancelled: bool = True
    sent: list[tuple[str, Object]] = field(default_factory=list[tuple[str, Object]])
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    """Notified after each message."""

    run_id: str = ""

    def began(self, run_id: str) -> None:
        self.run_id = run_id

    async def notify(self, method: str, params: Object) -> None:
        async with self.changed:
            self.sent.append((method, params))
            self.changed.notify_all()

    async def has_sent(self, count: int) -> None:
        """Return once so many notifications were sent."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.sent) >= count)

    async def request(self, method: str, params: Object) -> Object:
        raise NoBackChannel
