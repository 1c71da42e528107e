"""A worker: one process in a jail, one script at a time, one socket. It ends with its socket.

It owns nothing that outlives it: whatever a script does is done by the server at
its request, so a worker can be killed at any moment. Every script gets a Lua
state in which no script has run; it is made ready after the script before.
"""

from __future__ import annotations

import os
import signal
import socket
import time

from llmspell.runtime import jail, wire
from llmspell.runtime.lua.cell import Cell
from llmspell.runtime.lua.cells import Cells
from llmspell.runtime.lua.snapshot import SnapshotCell

_PR_SET_PDEATHSIG = 1
_HOOK_FACTOR = 1.5
"""How much longer than until the count hook a slice may last where a place is looked for."""


def run(sock: socket.socket, cells: Cells, zygote_pid: int) -> None:
    """Serve scripts until the server closes the socket. Call it in a fresh fork."""
    _end_with(zygote_pid)
    reader = wire.Reader(sock)
    head = reader.exactly(wire.ROOM.size)
    if head is None:
        return
    (memory,) = wire.ROOM.unpack(head)
    jail.confine(memory, sock.fileno())
    jail.lock_down(sock.fileno())
    program = b""
    if cells.restorable is not None:
        left = cells.restorable.serve(sock.fileno(), reader.unread())
        if left is None:
            return
        program, received = left
        reader = wire.Reader(sock, received)
    _serve(sock, reader, cells, program)


def _serve(sock: socket.socket, reader: wire.Reader, cells: Cells, program: bytes) -> None:
    """Serve scripts in states of any kind. Where states are set back, most never come here."""
    cell: Cell | SnapshotCell | None = None
    suicide_seconds = 0.0  # of CPU time
    while (packet := reader.packet()) is not None:
        kind, payload = packet
        if kind == wire.FRAME:
            assert cell is not None  # the server begins a script before it sends frames
            # Its signal ends the process, whatever it is doing. It need not be set back: what
            # waits for a packet takes no CPU time.
            signal.setitimer(signal.ITIMER_PROF, suicide_seconds)
            reply = cell.exchange(payload)
            cpu = time.process_time_ns() // 1000
            sock.sendall(wire.REPLY.pack(len(reply), cpu) + reply)
            del reply
        elif kind == wire.BEGIN:
            if cell is not None:
                cell = None
                cells.renew()
            heap, message, suicide_seconds, hook_seconds = wire.LIMITS.unpack(payload)
            cell = cells.take(hook_seconds=hook_seconds)
            if hook_seconds > 0 and isinstance(cell, SnapshotCell):
                # The hook ends Lua code; what it does not reach is in a C function, which only a
                # signal interrupts.
                cell.watch(sock.fileno())
                suicide_seconds = _HOOK_FACTOR * hook_seconds
            cell.begin(program, heap_bytes=heap, message_bytes=message)
        elif kind == wire.END:
            cell = None  # frees what the script held
            cells.renew()
        else:
            program = payload
        del packet, payload


def _end_with(zygote_pid: int) -> None:
    """Let the kernel kill this process when the zygote ends, however it ends."""
    if number := jail.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL):
        raise OSError(number, os.strerror(number))
    if os.getppid() != zygote_pid:
        os._exit(0)  # it ended before the line above
