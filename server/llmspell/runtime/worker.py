"""A worker: one process, one Lua state, one script, one socket. It ends with its socket.

It owns nothing that outlives it: whatever a script does is done by the server at
its request, so a worker can be killed at any moment.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket

from llmspell.runtime import wire
from llmspell.runtime.lua.cell import Cell

_PR_SET_PDEATHSIG = 1
_BASE_BYTES = 256 << 20
"""Address space of the interpreter itself, with room to spare."""
_CPU_SECONDS = 600
"""CPU time of a whole script: for the case that nobody is left to look at the clock."""

_libc = ctypes.CDLL(None, use_errno=True)


def run(sock: socket.socket, cell: Cell, zygote_pid: int) -> None:
    """Serve one script until the server closes the socket. Call it in a fresh fork."""
    _end_with(zygote_pid)
    head = wire.receive_exactly(sock, wire.LIMITS.size)
    if head is None:
        return
    heap_bytes, message_bytes = wire.LIMITS.unpack(head)
    _confine(heap_bytes, message_bytes)
    cell.limit(heap_bytes=heap_bytes, message_bytes=message_bytes)
    limit = message_bytes + wire.FRAME_EXTRA
    while (frame := wire.receive(sock, limit)) is not None:
        wire.send(sock, cell.exchange(frame))


def _end_with(zygote_pid: int) -> None:
    """Let the kernel kill this process when the zygote ends, however it ends."""
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != zygote_pid:
        os._exit(0)  # it ended before the line above


def _confine(heap_bytes: int, message_bytes: int) -> None:
    """Give up what a script never needs, before any of its code runs."""
    memory = _BASE_BYTES + heap_bytes + 8 * message_bytes
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: _CPU_SECONDS,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NPROC: 0,
    }
    for kind, value in limits.items():
        resource.setrlimit(kind, (value, value))
