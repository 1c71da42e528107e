"""The server's end of the zygote: it orders forks and learns of the processes that came of them."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
from collections import deque

from llmspell.runtime import wire
from llmspell.runtime.channel import Channel

_END_SECONDS = 5.0
"""How long the zygote may take to end before it is killed."""


def _environment() -> dict[str, str]:
    """Return all a worker's environment holds: no key, no home, and a fixed time zone."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return {"PYTHONPATH": path, "TZ": "UTC0"}


class Spawner:
    """The process that forks, and the channels whose fork is under way.

    Raises:
        OSError: It cannot be started: there is no room for a process or a descriptor.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pending: deque[Channel] = deque()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._control = ours
        try:
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
        except OSError:
            ours.close()
            raise
        self.is_alive = True
        loop.add_reader(ours, self._read)

    def fork(self, room_bytes: int) -> Channel:
        """Order a worker and return its channel, which may be written to at once.

        Args:
            room_bytes: Address space the worker may use.

        Raises:
            ConnectionError: The zygote is gone.
            OSError: More forks are on order than can be queued, or this process has no room for a
                further descriptor.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                ours.send(wire.ROOM.pack(room_bytes))
                socket.send_fds(self._control, [b"f"], [theirs.fileno()])
        except OSError:
            ours.close()
            raise
        channel = Channel(ours, self._loop, room_bytes)
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
        if not message:
            self.disconnect()  # its workers ended with it
            return
        (pid,) = wire.FORKED.unpack(message)
        channel = self._pending.popleft()
        if descriptors:
            channel.forked(pid, descriptors[0])
        else:  # without one that was sent, it is this process that has no room for it
            channel.not_forked(-pid if pid < 0 else errno.EMFILE)

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
