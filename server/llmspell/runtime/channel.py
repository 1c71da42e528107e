"""The server's end of one worker: packets out, frames in, the clocks, and the kill."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from contextlib import suppress

from llmspell.errors import LimitBusy, LimitWallClock, LlmspellError, OutputTooLarge, WorkerDied
from llmspell.runtime import wire
from llmspell.runtime.engine import ScriptLimits
from llmspell.runtime.workers import busy

_START_SECONDS = 30.0
"""How long a fork may take before the worker counts as dead: import time and a loaded machine."""
_CHUNK = 1 << 16
_WALL_FACTOR = 8
"""How much longer than its CPU time a slice may last: processors are shared."""
_GRACE_SECONDS = 1.0
"""How much more CPU time a slice may take before the worker ends itself: nobody else does."""
_LEAST_WAIT_SECONDS = 0.01


class Channel:
    """One worker, from its fork to its end. One script at a time, one exchange at a time.

    Nothing here blocks: the socket is written and read as it becomes ready.

    Args:
        room_bytes: The address space the worker was given.
    """

    def __init__(
        self, sock: socket.socket, loop: asyncio.AbstractEventLoop, room_bytes: int
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = loop
        self._born = asyncio.Event()
        self._pidfd: int | None = None
        self._limits = ScriptLimits()
        self._name = ""
        self._program: bytes | None = None
        self._unsent = b""
        self._is_writing = False
        self._received = bytearray()
        self._has_moved = False
        self._is_late = False
        self._is_lost = False
        self._reply: asyncio.Future[bytes] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._began_at = 0.0
        self._error: LlmspellError | None = None
        self._cpu_before_us = 0
        self.room_bytes = room_bytes
        self.cpu_us = 0
        """CPU time the worker had used when it last replied, as it says."""
        self.scripts = 0
        """Scripts begun in it."""
        self.pid: int | None = None
        """The worker's process id, once it is forked."""
        self.is_closed = False
        loop.add_reader(sock, self._read)

    @property
    def is_usable(self) -> bool:
        """Whether the worker may still serve a script."""
        return not self.is_closed and self._error is None

    @property
    def script_cpu_seconds(self) -> float:
        """CPU time of the script it serves, up to its last reply."""
        return (self.cpu_us - self._cpu_before_us) / 1e6

    def forked(self, pid: int, pidfd: int) -> None:
        """Take note of the process that serves this channel."""
        self.pid, self._pidfd = pid, pidfd
        self._born.set()
        if self.is_closed:
            self._kill()
        elif self._is_lost:
            self._lost()

    def not_forked(self, number: int) -> None:
        """Take note that no process serves this channel, for the reason of this error number."""
        self._error = not_forked(number)  # `birth` raises it
        self._born.set()

    def begin(
        self, limits: ScriptLimits, name: str, program: bytes, *, hook_seconds: float = 0.0
    ) -> None:
        """Give the worker to a script of the file `name`. Comes before its first exchange.

        Args:
            program: The frame with its sources; sent unless the worker has this very object.
            hook_seconds: When the count hook is to end a slice and say where it was; 0 = never.
                `wire.LINE_HOOK` notes lines instead.
        """
        if self._alarm is not None and limits.slice_seconds < self._limits.slice_seconds:
            self._alarm.cancel()  # it would ring too late
            self._alarm = None
        self._limits, self._name = limits, name
        self._cpu_before_us = self.cpu_us
        self.scripts += 1
        if program is not self._program:
            self._program = program
            self._unsent += wire.packet(wire.PROGRAM, program)
        suicide_seconds = limits.slice_seconds + _GRACE_SECONDS
        head = wire.LIMITS.pack(
            limits.heap_bytes, limits.message_bytes, suicide_seconds, hook_seconds
        )
        self._unsent += wire.packet(wire.BEGIN, head)

    def end(self) -> None:
        """Have the worker forget its script, which has nothing under way; `begin` does so too."""
        self._unsent += wire.packet(wire.END)
        self._write()

    async def exchange(self, frame: bytes) -> bytes:
        """Send a frame and return the reply. After any failure the worker is gone.

        Raises:
            LimitBusy: The worker could not be forked.
            LimitWallClock: The script did not give way in time.
            OutputTooLarge: The reply is larger than allowed.
            WorkerDied: The worker ended by itself.
        """
        if self._error is not None:
            raise self._error
        if self.is_closed:
            raise WorkerDied("the script was ended", where=self._name)
        reply = self._reply = self._loop.create_future()
        self._has_moved = self._is_late = False
        self._began_at = time.monotonic()
        self._unsent += wire.packet(wire.FRAME, frame)
        self._write()
        try:
            if not self._born.is_set():
                await self.birth()
                self._began_at = time.monotonic()  # its own time begins when it has a process
            if self._alarm is None:
                self._set_alarm(self._limits.slice_seconds)
            return await reply
        except BaseException:  # cancelled too: nobody knows what the worker does now
            self._reply = None  # nobody waits for it any more
            self.close()
            raise
        finally:
            self._reply = None

    async def birth(self) -> None:
        """Return once the worker is forked.

        Raises:
            LimitBusy: It could not be.
            WorkerDied: It takes too long.
        """
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._born.wait()
        except TimeoutError:
            raise WorkerDied("no worker process came up", where=self._name) from None
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Kill the worker and free what it held. Closing twice is no error."""
        if self.is_closed:
            return
        self.is_closed = True
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(WorkerDied("the script was ended", where=self._name))
        self._born.set()
        if self._alarm is not None:
            self._alarm.cancel()
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

    def _set_alarm(self, seconds: float) -> None:
        self._alarm = self._loop.call_later(seconds, self._ring)

    def _ring(self) -> None:
        """Look at the slice under way. It may have begun long after the alarm was set.

        An alarm for each slice would cost as much as the rest of a short one.
        """
        self._alarm = None
        reply = self._reply
        if reply is None or reply.done():
            return  # the next slice sets it
        seconds = self._limits.slice_seconds
        early = self._began_at + seconds - time.monotonic()
        if early > 0 and not self._is_late:
            self._set_alarm(early)
            return
        # When this process itself was held up, the reply may be here, unread.
        if not self._has_moved:
            self._read()
        if reply.done():
            return
        if self._has_moved:
            if not self._is_late:  # it computes no more, it sends
                self._is_late = True
                self._set_alarm(seconds)
                return
        else:
            left = self._left_seconds()
            if left > 0:  # others had the processor
                self._set_alarm(max(left, _LEAST_WAIT_SECONDS))
                return
        self._fail(self._took_too_long())

    def _left_seconds(self) -> float:
        """Return what is left of the slice: of its CPU time, and never more than of its time."""
        seconds = self._limits.slice_seconds
        left = _WALL_FACTOR * seconds - (time.monotonic() - self._began_at)
        if self.pid is None:
            return 0.0
        try:
            used = time.clock_gettime(_cpu_clock(self.pid)) - self.cpu_us / 1e6
        except OSError:  # it has ended: that is seen in a moment
            return 0.0
        return min(left, seconds - used)

    def _took_too_long(self) -> LimitWallClock:
        seconds = self._limits.slice_seconds
        return LimitWallClock(f"the script computed for {seconds:g} s without giving way")

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
            self._lost()
            return
        if sent == len(self._unsent):
            if self._is_writing:
                self._is_writing = False
                self._loop.remove_writer(self._sock)
            self._unsent = b""
            return
        self._unsent = self._unsent[sent:]
        if not self._is_writing:
            self._is_writing = True
            self._loop.add_writer(self._sock, self._write)

    def _lost(self) -> None:
        """Take note that the worker is gone."""
        if not self._born.is_set():
            self._is_lost = True  # the zygote says in a moment whether there was one
            return
        if self._error is not None:
            return
        limit = self._limits.slice_seconds + _GRACE_SECONDS
        if self._reply is not None and time.monotonic() - self._began_at >= limit:
            self._fail(self._took_too_long())  # its own clock was first: this process stood still
        else:
            self._fail(WorkerDied("the process that ran the script ended"))

    def _read(self) -> None:
        try:
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._sock)
            self._lost()
            return
        self._has_moved = True
        received = self._received
        received += data
        if len(received) < wire.REPLY.size:
            return
        size, cpu_us = wire.REPLY.unpack_from(received)
        limit = self._limits.message_bytes + wire.FRAME_EXTRA
        if size > limit:
            self._fail(OutputTooLarge(f"a frame of {size} bytes; the limit is {limit}"))
            return
        end = wire.REPLY.size + size
        if len(received) < end:
            return
        if len(received) > end or self._reply is None or self._reply.done():
            self._fail(WorkerDied("the process that ran the script broke its protocol"))
            return
        frame = bytes(received[wire.REPLY.size :])
        received.clear()
        self.cpu_us = max(self.cpu_us, cpu_us)
        self._reply.set_result(frame)


def not_forked(number: int) -> LimitBusy:
    """Return the error of a worker that could not be forked, by the number of the reason."""
    return busy(f"no further worker can be forked now: {os.strerror(number)}")


def _cpu_clock(pid: int) -> int:
    """Return the clock of another process's CPU time, as clock_getcpuclockid(3) makes it."""
    return (~pid << 3) | 2
