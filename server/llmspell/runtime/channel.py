"""The server's end of one worker: frames out and in, a wall clock, and the kill."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import suppress

from llmspell.errors import LimitWallClock, LlmspellError, OutputTooLarge, WorkerDied
from llmspell.runtime import wire
from llmspell.runtime.engine import ScriptLimits

_START_SECONDS = 30.0
"""How long a fork may take before the worker counts as dead: import time and a loaded machine."""
_CHUNK = 1 << 18


class Channel:
    """One worker, from its fork to its end. One exchange at a time.

    Nothing here blocks: the socket is written and read as it becomes ready.
    """

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = loop
        self._born = asyncio.Event()
        self._pidfd: int | None = None
        self._limits = ScriptLimits()
        self._name = ""
        self._unsent = b""
        self._received = bytearray()
        self._has_moved = False
        self._is_late = False
        self._reply: asyncio.Future[bytes] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._error: LlmspellError | None = None
        self.pid: int | None = None
        """The worker's process id, once it is forked."""
        self.is_closed = False
        loop.add_reader(sock, self._read)

    @property
    def is_usable(self) -> bool:
        """Whether the worker may still serve a script."""
        return not self.is_closed and self._error is None

    def forked(self, pid: int, pidfd: int) -> None:
        """Take note of the process that serves this channel."""
        self.pid, self._pidfd = pid, pidfd
        self._born.set()
        if self.is_closed:
            self._kill()

    def begin(self, limits: ScriptLimits, name: str) -> None:
        """Give the worker to the script of file `name`. Comes before the first exchange."""
        self._limits, self._name = limits, name
        self._unsent = wire.LIMITS.pack(limits.heap_bytes, limits.message_bytes)

    async def exchange(self, frame: bytes) -> bytes:
        """Send a frame and return the reply. After any failure the worker is gone.

        Raises:
            LimitWallClock: The script did not give way in time.
            OutputTooLarge: The reply is larger than allowed.
            WorkerDied: The worker ended by itself.
        """
        if self._error is not None:
            raise self._error
        if self.is_closed:
            raise WorkerDied("the script was ended", where=self._name)
        reply = self._reply = self._loop.create_future()
        self._unsent += wire.HEADER.pack(len(frame)) + frame
        self._write()
        try:
            if not self._born.is_set():
                await self.birth()  # the script's own time begins when it has a process
            self._has_moved = self._is_late = False
            self._set_alarm()
            return await reply
        except BaseException:
            self.close()
            raise
        finally:
            self._reply = None
            if self._alarm is not None:
                self._alarm.cancel()

    async def birth(self) -> None:
        """Return once the worker is forked.

        Raises:
            WorkerDied: It takes too long.
        """
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._born.wait()
        except TimeoutError:
            raise WorkerDied("no worker process came up", where=self._name) from None

    def close(self) -> None:
        """Kill the worker and free what it held. Closing twice is no error."""
        if self.is_closed:
            return
        self.is_closed = True
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(WorkerDied("the script was ended", where=self._name))
        self._born.set()
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        self._kill()

    def _kill(self) -> None:
        if self._pidfd is None:
            return
        with suppress(ProcessLookupError):  # it has ended already
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        os.close(self._pidfd)
        self._pidfd = None

    def _set_alarm(self) -> None:
        self._alarm = self._loop.call_later(self._limits.slice_seconds, self._ring)

    def _ring(self) -> None:
        # When this process itself was held up, the reply may be here, unread.
        if not self._has_moved:
            self._read()
        if self._reply is None or self._reply.done():
            return
        if self._has_moved and not self._is_late:  # it computes no more, it sends
            self._is_late = True
            self._set_alarm()
            return
        seconds = self._limits.slice_seconds
        self._fail(LimitWallClock(f"the script computed for {seconds:g} s without giving way"))

    def _fail(self, error: LlmspellError) -> None:
        error.where = self._name or None
        self._error = error
        if self._reply is None:
            self.close()
        elif not self._reply.done():
            self._reply.set_exception(error)

    def _write(self) -> None:
        try:
            sent = self._sock.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._loop.remove_writer(self._sock)
            self._fail(WorkerDied("the process that ran the script ended"))
            return
        self._unsent = self._unsent[sent:]
        if self._unsent:
            self._loop.add_writer(self._sock, self._write)
        else:
            self._loop.remove_writer(self._sock)

    def _read(self) -> None:
        try:
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._sock)
            self._fail(WorkerDied("the process that ran the script ended"))
            return
        self._has_moved = True
        received = self._received
        received += data
        if len(received) < wire.HEADER.size:
            return
        (size,) = wire.HEADER.unpack_from(received)
        limit = self._limits.message_bytes + wire.FRAME_EXTRA
        if size > limit:
            self._fail(OutputTooLarge(f"a frame of {size} bytes; the limit is {limit}"))
            return
        end = wire.HEADER.size + size
        if len(received) < end:
            return
        if len(received) > end or self._reply is None or self._reply.done():
            self._fail(WorkerDied("the process that ran the script broke its protocol"))
            return
        frame = bytes(received[wire.HEADER.size :])
        received.clear()
        self._reply.set_result(frame)
