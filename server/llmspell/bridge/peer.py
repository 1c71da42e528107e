"""The process at the other end of a local socket: whose it is, what it does, and its end.

What the kernel says of a connection is believed, a file never is. A process is
known by its id together with its start, so that another one that was given the
same id is not taken for it.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
from typing import NamedTuple

_SOL_LOCAL = 0
_LOCAL_PEERCRED = 1
_LOCAL_PEERPID = 2
"""Socket options of macOS (sys/un.h), which Python has no names for."""

UNKNOWN_PID = 0
"""Stands for a process of another process namespace, which has no id here."""


def peer(connection: socket.socket) -> tuple[int, int] | None:
    """Return pid and user id of the process at the other end; None where the system can't say.

    At a client's end that is the process that listens, as it was when it began to.
    """
    if hasattr(socket, "SO_PEERCRED"):
        size = struct.calcsize("3i")
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        pid, uid, _ = struct.unpack("3i", raw)
        return pid, uid
    try:
        credentials = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 76)
        _, uid = struct.unpack_from("2I", credentials)
        (pid,) = struct.unpack("i", connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID, 4))
    except (OSError, struct.error):
        return None  # there the modes of socket and directory have to do
    return pid, uid


class Look(NamedTuple):
    """What the system shows of a process at one moment."""

    state: str
    """One letter, as in proc(5): `T` is stopped, `D` waits for a disk, `R` computes."""
    ticks: int
    """Processor time it has used, in ticks of the system's clock."""
    started: int
    """When it began, in ticks since the system's start."""


def look_at(pid: int) -> Look | None:
    """Return what the system shows of a process; None when there is none, or no /proc."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, in parentheses, may hold anything; what follows it is numbers.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return Look(fields[0].decode(), int(fields[11]) + int(fields[12]), int(fields[19]))


class Process:
    """A process that is to be recognised later.

    Args:
        pid: Its id, as the kernel told it of an open connection.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        seen = look_at(pid)
        self._started = seen.started if seen else None

    def look(self) -> Look | None:
        """Return what it does; None when it has ended, or the system can't say."""
        seen = look_at(self.pid)
        return seen if seen is not None and seen.started == self._started else None

    def kill(self) -> bool:
        """End it at once; return whether it was there. See `send`."""
        return self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> bool:
        """Send it a signal; return whether it was there.

        Call it only while a connection to the process is open: where the system does not
        tell when a process began, that is what proves that the id still is its own.
        """
        if self.pid <= UNKNOWN_PID:
            return False
        try:
            if self._started is None or not hasattr(os, "pidfd_open"):
                os.kill(self.pid, number)
                return True
            # Held by a descriptor the id can't pass to another between the look and the signal.
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if self.look() is None:
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True


class Vigil:
    """Watches a silent process: whether it hangs, or is merely busy.

    A process that has not answered for a while is no proof of anything: it may
    be loading, or waiting for a slow disk. It hangs when it is stopped, or
    when it neither computes nor waits for a disk.
    """

    SECONDS = 5.0
    """How long a process may keep silent before it is looked at."""
    BUSY_SECONDS = 30.0
    """How long it may keep silent in any case."""

    def __init__(self, process: Process, now: float) -> None:
        self._process = process
        self._began = now
        self._seen = process.look()

    def remaining(self, now: float) -> float:
        """Return in how many seconds `is_hung` may be worth asking."""
        since = now - self._began
        return self.SECONDS - since if since < self.SECONDS else 1.0

    def is_hung(self, now: float) -> bool:
        """Return whether the process, silent since this began, will not answer any more."""
        since = now - self._began
        if since < self.SECONDS:
            return False
        before, after = self._seen, self._process.look()
        self._seen = after
        if since >= self.BUSY_SECONDS or before is None or after is None:
            return True
        if after.state in "tT":
            return True
        return after.state not in "RD" and after.ticks == before.ticks
