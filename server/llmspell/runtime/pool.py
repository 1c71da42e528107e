"""The pool: workers forked ahead by a zygote, given to one script each, killed after use."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections import deque

from llmspell.errors import LimitBusy
from llmspell.runtime import wire
from llmspell.runtime.channel import Channel
from llmspell.runtime.engine import ScriptLimits

_END_SECONDS = 5.0
"""How long the zygote may take to end before it is killed."""
_RETRY_SECONDS = 1


def _environment() -> dict[str, str]:
    """Return all a worker's environment holds: no key, no home, and a fixed time zone."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return {"PYTHONPATH": path, "TZ": "UTC0"}


class _Zygote:
    """The process that forks, and the channels whose fork is under way."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pending: deque[Channel] = deque()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._control = ours
        with theirs:
            # -P: a module lying in the working directory must not be taken for a library.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "llmspell.runtime.zygote", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",
                env=_environment(),
                start_new_session=True,
            )
        self.is_alive = True
        loop.add_reader(ours, self._read)

    def fork(self) -> Channel:
        """Order a worker and return its channel, which may be written to at once.

        Raises:
            BlockingIOError: More forks are on order than can be queued.
            OSError: The zygote is gone.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self._control, [b"f"], [theirs.fileno()])
        except OSError:
            ours.close()
            raise
        channel = Channel(ours, self._loop)
        self._pending.append(channel)
        return channel

    def _read(self) -> None:
        try:
            message, descriptors, _, _ = socket.recv_fds(
                self._control, wire.FORKED.size, 1, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        except OSError:
            message, descriptors = b"", []
        if not message or not descriptors:
            self.disconnect()  # its workers ended with it
            return
        (pid,) = wire.FORKED.unpack(message)
        self._pending.popleft().forked(pid, descriptors[0])

    def disconnect(self) -> None:
        """Close the control socket: the zygote ends its workers, then itself."""
        if not self.is_alive:
            return
        self.is_alive = False
        self._loop.remove_reader(self._control)
        self._control.close()
        for channel in self._pending:
            channel.close()
        self._pending.clear()

    async def end(self) -> None:
        """Disconnect, and return when the process and all its workers are gone."""
        self.disconnect()
        try:
            await asyncio.to_thread(self._process.wait, _END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)


class Pool:
    """Workers of one engine. Belongs to the event loop it is first used in.

    Args:
        idle: Workers kept ready.
        maximum: Workers there may be at the same time, the idle ones included.
    """

    def __init__(self, *, idle: int, maximum: int) -> None:
        self._idle_target = idle
        self._maximum = maximum
        self._zygote: _Zygote | None = None
        self._ended: list[_Zygote] = []
        self._idle: deque[Channel] = deque()
        self._active: set[Channel] = set()
        self._is_closed = False

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that are forked."""
        return [channel.pid for channel in (*self._idle, *self._active) if channel.pid is not None]

    async def warm_up(self) -> None:
        """Return once the workers to be kept ready are forked."""
        self._refill()
        for channel in tuple(self._idle):
            await channel.birth()

    def acquire(self, limits: ScriptLimits, name: str) -> Channel:
        """Return a worker for the script of file `name`.

        Raises:
            LimitBusy: As many workers as allowed are in use, or the pool is closed.
        """
        if self._is_closed:
            raise LimitBusy("the script engine is closed", hint="")
        self._drop_dead()
        if len(self._active) >= self._maximum:
            raise LimitBusy(
                f"{self._maximum} scripts are running, which is the limit",
                data={"retry_after": _RETRY_SECONDS},
            )
        channel = self._idle.popleft() if self._idle else self._fork()
        self._active.add(channel)
        channel.begin(limits, name)
        # Later, so that the script's first frame goes out before the next fork begins.
        asyncio.get_running_loop().call_soon(self._refill)
        return channel

    def release(self, channel: Channel) -> None:
        """Kill a worker after use. It is never given to a second script."""
        self._active.discard(channel)
        channel.close()

    async def close(self) -> None:
        """End every worker and the zygote. Closing twice is no error."""
        self._is_closed = True
        for channel in (*self._idle, *self._active):
            channel.close()
        self._idle.clear()
        self._active.clear()
        if self._zygote is not None:
            self._ended.append(self._zygote)
            self._zygote = None
        while self._ended:
            await self._ended.pop().end()

    def _fork(self) -> Channel:
        for _ in range(2):
            if self._zygote is None or not self._zygote.is_alive:
                if self._zygote is not None:
                    self._ended.append(self._zygote)
                self._zygote = _Zygote(asyncio.get_running_loop())
            try:
                return self._zygote.fork()
            except BlockingIOError:
                break
            except OSError:
                self._zygote.disconnect()  # it ended unexpectedly: start another
        raise LimitBusy("no further worker can be forked now", data={"retry_after": _RETRY_SECONDS})

    def _drop_dead(self) -> None:
        if not all(channel.is_usable for channel in self._idle):
            self._idle = deque(channel for channel in self._idle if channel.is_usable)

    def _refill(self) -> None:
        if self._is_closed:
            return
        self._drop_dead()
        room = self._maximum - len(self._active)
        while len(self._idle) < min(self._idle_target, room):
            self._idle.append(self._fork())
