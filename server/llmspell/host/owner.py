"""The owner: the one process that opens the database, and the socket others reach it by.

It holds `owner.lock` for life, serves `s.sock`, and ends by a signal, by `stop`,
when nobody has needed it for a while, or to make room for a newer build. What
is spoken on a connection is a role, given from above, because this layer knows
no wire; `control` alone is built in. How a process finds and starts an owner is
`bridge.meeting`'s.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TypeAlias

import msgspec

from llmspell import __version__
from llmspell.bridge.hello import (
    DRAIN,
    HELLO_SECONDS,
    MAX_HELLO_BYTES,
    PROTOCOL,
    is_newer,
)
from llmspell.bridge.peer import peer
from llmspell.clock import Clock, SystemClock
from llmspell.errors import LlmspellError, OwnerVersion, UsageError
from llmspell.host.control import MAX_LINE_BYTES, Control, Method
from llmspell.host.interface import DoorHost
from llmspell.host.listening import Listener
from llmspell.values import JSON, Object

CLOSE_SECONDS = 5.0
"""How long connections may take to end when the owner does."""

_log = logging.getLogger(__name__)


class Hello(msgspec.Struct, omit_defaults=True):
    """The first line each way. See `bridge.hello`."""

    protocol: int
    build: str
    pid: int
    role: str = ""
    """What the client wants to speak; only a client says it."""
    bridge: str = ""
    """The id under which a bridge asks; only a bridge says it."""
    bundle: str = ""
    """The bundle whose spells a client wants to be served; "" = everything."""
    keeper: bool = False
    """Whether another owner comes in this one's place when it is killed."""


Role: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter, Hello], Awaitable[None]]
"""Serves one connection after the hellos, until it ends."""


class Owner:
    """Serves a host on the socket of its state directory.

    The caller holds the directory's lock and closes the host afterwards.

    Args:
        host: What the control connections speak to.
        listener: The socket; `serve` closes it.
        idle_seconds: End after this long without anybody; None = never.
        is_kept: Whether a keeper puts another owner in its place when it is killed.
    """

    def __init__(
        self,
        host: DoorHost,
        listener: Listener,
        *,
        idle_seconds: float | None = None,
        is_kept: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.host = host
        self.roles: dict[str, Role] = {}
        """What may be spoken besides `control`, by name."""
        self.farewells: dict[str, bytes] = {}
        """What connections of a role are told when this ends for good, by role."""
        self.methods: dict[str, Method] = {"stop": self._stop_method}
        """Control methods besides the host's own, by name."""
        self.reasons_to_stay: list[Callable[[], Awaitable[bool]]] = []
        """Asked before an idle exit: whether there is work although nobody is connected."""
        self._listener = listener
        self._idle_seconds = idle_seconds
        self._is_kept = is_kept
        self._clock = clock or SystemClock()
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._spoken: dict[asyncio.Task[None], str] = {}
        self._left_at = self._clock.monotonic()
        self._stopping = asyncio.Event()
        self._is_draining = False
        self._is_over = False

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
        server = await asyncio.start_unix_server(
            self._accept, sock=self._listener.socket, limit=MAX_LINE_BYTES
        )
        try:
            ready()
            await self._until_over()
        finally:
            # First the name: whoever comes now finds nobody and starts the next owner.
            self._listener.unlink()
            server.close()
            await self._end_connections()

    async def _end_connections(self) -> None:
        self._is_over = True
        for task, writer in self._connections.items():
            farewell = self.farewells.get(self._spoken.get(task, ""))
            # Clients of an owner that makes room ask the next one, which goes on with their runs.
            if farewell is not None and not self._is_draining:
                writer.write(farewell)
            # Before the tasks are cancelled, so that none says of its own that it was.
            writer.close()
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=CLOSE_SECONDS)

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
        if self._is_over:  # it dialled before, and was let in only now
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            greeted = await self._greet(reader, writer)
            if greeted is not None:
                role, hello = greeted
                self._spoken[task] = hello.role
                await role(reader, writer, hello)
        except (ConnectionError, asyncio.CancelledError):
            # The client left, or the owner ends: either way the connection is over. A
            # cancellation that went on to the stream's own callback would be logged as a fault.
            pass
        # One connection's fault must not reach the others, and must be seen.
        except Exception:
            _log.exception("a connection failed")
        finally:
            del self._connections[task]
            self._spoken.pop(task, None)
            self._left_at = self._clock.monotonic()
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _greet(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[Role, Hello] | None:
        """Exchange hellos; return what to serve, or None when that was all."""
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
            role = self._role(hello)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            return None
        except msgspec.DecodeError as error:
            self._refuse(writer, UsageError(f"not a hello: {error}", hint=""))
            return None
        except LlmspellError as error:
            self._refuse(writer, error)
            return None
        answer = Hello(protocol=PROTOCOL, build=__version__, pid=os.getpid(), keeper=self._is_kept)
        writer.write(msgspec.json.encode(answer) + b"\n")
        await writer.drain()
        if role is None:
            self._drain_for(hello)
            return None
        return role, hello

    def _role(self, hello: Hello) -> Role | None:
        """Return what to serve a client; None when it asks this owner to make room.

        Raises:
            OwnerVersion: It speaks another protocol, or is not newer than this.
            UsageError: Nobody speaks what it asks for.
        """
        if hello.role == DRAIN:
            if is_newer(hello.protocol, hello.build, PROTOCOL, __version__):
                return None
            raise OwnerVersion(
                f"the owner (pid {os.getpid()}) is llmspell {__version__} and makes room for a "
                f"newer one only; this is {hello.build}",
                hint="end it with 'llmspell stop'",
            )
        if hello.protocol != PROTOCOL:
            raise OwnerVersion(
                f"the owner (pid {os.getpid()}) is llmspell {__version__}, this is {hello.build}"
            )
        role = self.roles.get(hello.role)
        if hello.role == "control":
            role = self._control
        if role is None:
            raise UsageError(f"the owner does not speak {hello.role!r}", hint="")
        return role

    async def _control(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: Hello
    ) -> None:
        await Control(self.host, self.methods).serve(reader, writer)

    def _drain_for(self, hello: Hello) -> None:
        _log.info("making room for llmspell %s (process %d)", hello.build, hello.pid)
        self._is_draining = True
        self.stop()

    def _refuse(self, writer: asyncio.StreamWriter, error: LlmspellError) -> None:
        refusal = {
            "error": error.to_value(),
            "protocol": PROTOCOL,
            "build": __version__,
            "pid": os.getpid(),
        }
        writer.write(msgspec.json.encode(refusal) + b"\n")
