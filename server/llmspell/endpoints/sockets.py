"""WebSocket connections: uvicorn's protocol, where every request has an answer and every connection
an end.

uvicorn leaves a request that the library under it does not read (one with a body, or with a line
longer than 8 KiB) without an answer, on a connection that nothing ends and that a shutdown fails
on; it logs one that was refused as if it had got no answer; and it closes the connection of a
client that reads nothing by waiting until that has read. What a socket carries is none of this.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from llmspell.endpoints.patience import Patience, PatientState

_TEXT = "this asks for no WebSocket: it has a body, or a header that is too long\n"


class PatientSocket(WebSocketsSansIOProtocol):
    """One connection that asks for a WebSocket, whose request comes whole and first.

    Its client may take its time to speak: who is gone is found out by pings. It may not keep the
    server waiting to send.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        assert isinstance(server_state, PatientState)
        self._patience = Patience(server_state.limits.request_within)

    def data_received(self, data: bytes) -> None:
        """Take what has come; a request that cannot be read is refused with 400 or 431."""
        super().data_received(data)
        if not self.handshake_initiated and not self.transport.is_closing():
            # What the library would answer itself, if it does.
            answer = b"".join(self.conn.data_to_send())
            self.transport.write(
                answer or self.conn.reject(HTTPStatus.BAD_REQUEST, _TEXT).serialize()
            )
            self._has_refused()
            self.transport.close()

    async def send(self, message: Any) -> None:
        """Send what the application says."""
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self._has_refused()

    def look(self, now: float) -> None:
        """End the connection when its client has taken nothing of what is sent for too long.

        Args:
            now: The time of the loop.
        """
        waits = self.transport.is_closing() or not self.writable.is_set()
        owed = (self.writable, self.transport.get_write_buffer_size()) if waits else None
        if self._patience.is_over(owed, now):
            self.transport.abort()

    def _has_refused(self) -> None:
        self.close_sent = self.handshake_complete = True
