"""What a client may keep waiting: uvicorn's HTTP protocol with patience that ends.

uvicorn has no time limit before a request is whole, none for a client that does not read, and no
bound for the size of a head or for the number of connections; and whoever has said all it has to
say is hung up on before the answer. Here is nothing of what a request means, and of WebSocket only
that its connections are looked at too (`sockets`).

No request has a timer: the server looks at all its connections once a second, and each compares
what it waits for with what it waited for the last time.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import Generator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle
from uvicorn.server import ServerState

from llmspell.endpoints.framing import FramedProtocol
from llmspell.endpoints.log_limit import limit_log
from llmspell.endpoints.patience import ConnectionLimits, Patience, PatientState
from llmspell.endpoints.sockets import PatientSocket
from llmspell.endpoints.transport import HeadHoldingTransport

MAX_HEAD = 64 << 10
"""Largest head of a request in bytes, give or take what was read at once."""

ANSWER_SECONDS = 1.0
"""How long a request may still be answered after the client closed its side: it may have said all
it has to say, or be gone, and nothing shows which. After that it is taken for gone."""

_TICKS = 10  # of uvicorn's main loop, a tenth of a second each
_OTHER_DESCRIPTORS = 1024


class PatientProtocol(FramedProtocol):
    """One connection, whose client may keep the server waiting for so long only.

    It waits for the head of a request, for the next piece of its body, or for the client to take
    what was sent. Between two requests it does not wait: that is uvicorn's keep-alive.
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
        self._limits = server_state.limits
        self._patience = Patience(self._limits.request_within)
        self._performed: RequestResponseCycle | None = None
        """The request whose turn it is; `cycle` is the last that came, and may wait behind it."""
        self._head: object = None
        self._head_size = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take a connection, or refuse it with 503 when there are too many."""
        super().connection_made(HeadHoldingTransport(transport))
        if len(self.connections) > self._limits.connections:
            self.refuse(503, "too many connections are open")

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the request whose turn it is hear of it: uvicorn tells the last that came."""
        performed = self._performed
        if performed is not None and not performed.response_complete:
            performed.disconnected = True
            performed.message_event.set()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]  # uvicorn annotates its own, which does nothing, with None
        """Return whether the connection lives on for an answer: none more is asked for on it."""
        cycle, due = self.cycle, self._performed
        if not cycle or not due or cycle.more_body or cycle.response_complete:
            return False
        if due.response_started:
            return False  # who reads a stream and closes has left it
        cycle.keep_alive = False
        self.loop.call_later(ANSWER_SECONDS, self.transport.close)
        return True

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection on, as it is."""
        if isinstance(self.transport, HeadHoldingTransport):
            self.transport = self.transport.inner
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        """Take what has come; a head without an end is refused with 431."""
        before = self.scope
        super().data_received(data)
        if not self.cycle or self.cycle.scope is not self.scope:
            # Before a head that begins behind another request stands the rest of that.
            is_whole = not self.cycle or self.scope is before
            self._head_came(len(data) if is_whole else 0)

    def _head_came(self, size: int) -> None:
        if self._head is not self.scope:
            self._head, self._head_size = self.scope, 0
        self._head_size += size
        # One that asks for a WebSocket is whole, and has its connection no more.
        if self._head_size > MAX_HEAD and self in self.connections:
            self.refuse(431, f"the head of a request is at most {MAX_HEAD} bytes")

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._performed = cycle
        super()._start_asgi_task(cycle, app)

    def look(self, now: float) -> None:
        """End the connection when its client has kept the server waiting for too long.

        Args:
            now: The time of the loop.
        """
        if self._patience.is_over(self._waits_for(), now):
            self._give_up()

    def _waits_for(self) -> tuple[object, int] | None:
        """Return what the client owes and how much of it has come; None when it owes nothing.

        What has come of the same thing by the next look shows whether the client went on.
        """
        cycle = self.cycle
        if self.transport.is_closing() or self.flow.write_paused:
            return self.flow, self.transport.get_write_buffer_size()
        if cycle is not self._performed:
            return None  # it is not its turn
        if not cycle or cycle.response_complete:
            # The next head. It counts how long that takes in all: its bytes are no progress.
            return None if self.timeout_keep_alive_task is not None else (cycle or self, 0)
        if cycle.more_body and not self.flow.read_paused:
            return cycle.body, len(cycle.body)  # what the application has taken is another object
        return None

    def _give_up(self) -> None:
        if self.transport.is_closing() or self.flow.write_paused:
            self.transport.abort()
        elif self._is_in_head or (self.cycle and not self.cycle.response_complete):
            self.refuse(408, "the request did not come to its end")
        else:
            self.transport.close()  # it was answered, or never begun

    @property
    def _is_in_head(self) -> bool:
        """Whether a head has begun and is not whole."""
        return bool(self.scope) and (not self.cycle or self.cycle.scope is not self.scope)

    def refuse(self, status: int, text: str) -> None:
        """Answer what is no request, and close the connection."""
        due = self._performed
        if due and not due.response_complete:
            is_another = self._is_in_head or not due.more_body
            if due.response_started or is_another:
                self.transport.abort()  # the answer that is due is that to another request
                return
        body = text.encode() + b"\n"
        head = [STATUS_LINE[status]]
        head += [b"%b: %b\r\n" % field for field in self.server_state.default_headers]
        head.append(b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\n")
        head.append(b"content-length: %d\r\n\r\n" % len(body))
        self.transport.write(b"".join(head) + body)
        self.transport.close()


class PatientServer(uvicorn.Server):
    """uvicorn with these limits, without signal handlers and with a moment at which it listens.

    Args:
        config: With `PatientProtocol` for HTTP.
    """

    def __init__(self, config: uvicorn.Config, limits: ConnectionLimits) -> None:
        super().__init__(config)
        self.server_state = PatientState(limits)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to whoever owns the process."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        limit_log()
        await super().startup(sockets)
        self.listening.set()

    async def on_tick(self, counter: int) -> bool:
        """Look at all connections once a second."""
        if counter % _TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, PatientProtocol | PatientSocket):
                    connection.look(now)
        return await super().on_tick(counter)


def allow_descriptors(limits: ConnectionLimits) -> None:
    """Let this process have a file descriptor for every connection, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.connections + _OTHER_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
