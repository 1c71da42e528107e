"""The owner: the one process that opens the database, and the socket others reach it by.

It holds `owner.lock` for life, serves `s.sock`, and ends by a signal, by `stop`
or when nobody has needed it for a while. What is spoken on a connection is a
role, given from above, because this layer knows no wire; `control` alone is
built in. How a process finds and starts an owner is `bridge.meeting`'s.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import msgspec

from llmspell import __version__
from llmspell.bridge.meeting import (
    HELLO_SECONDS,
    MAX_HELLO_BYTES,
    PROTOCOL,
    SOCKET_NAME,
    bound_socket,
    peer,
    private_directory,
)
from llmspell.clock import Clock, SystemClock
from llmspell.errors import LlmspellError, OwnerVersion, UsageError
from llmspell.host.control import MAX_LINE_BYTES, Control, Method
from llmspell.host.interface import HostInterface
from llmspell.values import JSON, Object

Role: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Serves one connection after the hellos, until it ends."""

CLOSE_SECONDS = 5.0
"""How long connections may take to end when the owner does."""

_log = logging.getLogger(__name__)


class Hello(msgspec.Struct, omit_defaults=True):
    """The first line each way."""

    protocol: int
    build: str
    pid: int
    role: str = ""
    """What the client wants to speak; only a client says it."""


class Owner:
    """Serves a host on the socket of its state directory.

    The caller holds the directory's lock and closes the host afterwards.

    Args:
        host: What the control connections speak to.
        state: The state directory.
        environ: Where the runtime directory is looked up when the path is too long.
        idle_seconds: End after this long without anybody; None = never.
    """

    def __init__(
        self,
        host: HostInterface,
        state: Path,
        *,
        environ: dict[str, str],
        idle_seconds: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.host = host
        self.state = state
        self.roles: dict[str, Role] = {}
        """What may be spoken besides `control`, by name."""
        self.methods: dict[str, Method] = {"stop": self._stop_method}
        """Control methods besides the host's own, by name."""
        self.reasons_to_stay: list[Callable[[], Awaitable[bool]]] = []
        """Asked before an idle exit: whether there is work although nobody is connected."""
        self._bound = bound_socket(state, environ)
        self._idle_seconds = idle_seconds
        self._clock = clock or SystemClock()
        self._connections: set[asyncio.Task[None]] = set()
        self._left_at = self._clock.monotonic()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let `serve` end. Stopping twice is no error."""
        self._stopping.set()

    async def _stop_method(self, _: Object, __: AsyncExitStack) -> JSON:
        self.stop()
        return {"pid": os.getpid()}

    @asynccontextmanager
    async def signals(self) -> AsyncGenerator[None]:
        """Take SIGTERM and SIGINT as `stop` meanwhile; a second one ends the process at once."""
        loop = asyncio.get_running_loop()

        def received(number: int) -> None:
            if self._stopping.is_set():
                os._exit(128 + number)
            _log.info("stopping on %s", signal.Signals(number).name)
            self.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, received, number)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def serve(self, ready: Callable[[], None] = lambda: None) -> None:
        """Accept connections until stopped or idle, then end them in order.

        Args:
            ready: Called once connections are accepted.

        Raises:
            OSError: The socket cannot be bound.
        """
        server = await self._listen()
        try:
            ready()
            await self._until_over()
        finally:
            # First the name: whoever comes now finds nobody and starts the next owner.
            self._unlink()
            server.close()
            for task in self._connections:
                task.cancel()
            if self._connections:
                await asyncio.wait(self._connections, timeout=CLOSE_SECONDS)

    async def _listen(self) -> asyncio.Server:
        """Bind under a temporary name; `s.sock` appears only when it accepts."""
        private_directory(self._bound.parent)
        temporary = self._bound.with_name(f"s.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(os.fspath(temporary))
            temporary.chmod(0o600)
            server = await asyncio.start_unix_server(
                self._accept, sock=listener, limit=MAX_LINE_BYTES, backlog=128
            )
        except BaseException:
            listener.close()
            raise
        temporary.replace(self._bound)
        link = self.state / SOCKET_NAME
        if self._bound != link:
            temporary_link = self.state / f"s.{os.getpid()}"
            temporary_link.unlink(missing_ok=True)
            temporary_link.symlink_to(self._bound)
            temporary_link.replace(link)
        return server

    def _unlink(self) -> None:
        for path in {self.state / SOCKET_NAME, self._bound}:
            path.unlink(missing_ok=True)

    async def _until_over(self) -> None:
        async with asyncio.TaskGroup() as group:
            idle = group.create_task(self._watch_idle())
            await self._stopping.wait()
            idle.cancel()

    async def _watch_idle(self) -> None:
        if self._idle_seconds is None:
            return
        while True:
            left = self._left_at + self._idle_seconds - self._clock.monotonic()
            if self._connections or left > 0:
                await self._clock.sleep(max(left, min(1.0, self._idle_seconds)))
            elif any([await reason() for reason in self.reasons_to_stay]):
                self._left_at = self._clock.monotonic()
            else:
                _log.info("nobody for %g s: ending", self._idle_seconds)
                self.stop()
                return

    # -- connections ----------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            role = await self._greet(reader, writer)
            if role is not None:
                await role(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            # The client left, or the owner ends: either way the connection is over. A
            # cancellation that went on to the stream's own callback would be logged as a fault.
            pass
        # One connection's fault must not reach the others, and must be seen.
        except Exception:
            _log.exception("a connection failed")
        finally:
            self._connections.discard(task)
            self._left_at = self._clock.monotonic()
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _greet(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Role | None:
        """Exchange hellos; return what to serve, or None when the client was refused."""
        known = peer(writer.get_extra_info("socket"))
        if known is not None and known[1] != os.getuid():
            _log.warning("refused a connection of user %d", known[1])
            return None
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                line = await reader.readuntil(b"\n")
            if len(line) > MAX_HELLO_BYTES:
                raise UsageError("the hello is too long")
            hello = msgspec.json.decode(line, type=Hello)
            if hello.protocol != PROTOCOL:
                raise OwnerVersion(
                    f"the owner (pid {os.getpid()}) is llmspell {__version__}, "
                    f"this is {hello.build}"
                )
            role = self.roles.get(hello.role)
            if hello.role == "control":
                role = Control(self.host, self.methods).serve
            if role is None:
                raise UsageError(f"the owner does not speak {hello.role!r}", hint="")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            return None
        except msgspec.DecodeError as error:
            self._refuse(writer, UsageError(f"not a hello: {error}", hint=""))
            return None
        except LlmspellError as error:
            self._refuse(writer, error)
            return None
        answer = Hello(protocol=PROTOCOL, build=__version__, pid=os.getpid())
        writer.write(msgspec.json.encode(answer) + b"\n")
        await writer.drain()
        return role

    def _refuse(self, writer: asyncio.StreamWriter, error: LlmspellError) -> None:
        refusal = {"error": error.to_value(), "protocol": PROTOCOL, "pid": os.getpid()}
        writer.write(msgspec.json.encode(refusal) + b"\n")
