"""The zygote: a small process with a Lua state made ready, that forks a worker on request.

Started by the pool as `python -m llmspell.runtime.zygote FD`. Each message on
FD carries one end of a socket pair; a worker is forked to serve it, and a
message with its process id and pidfd goes back, or one that says why there is
none: the workers there are go on. It runs no script code. It ends when FD is
closed, and no worker outlives it.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import socket
import sys
import time
from types import FrameType
from typing import NoReturn

import msgspec

from llmspell.runtime import jail, wire, worker
from llmspell.runtime.lua.cell import compile_kernel
from llmspell.runtime.lua.cells import Cells
from llmspell.runtime.lua.native import handle_alarm, missing_library

_WARM = b"return { os.date('*t', 0), os.date('%c', 0), os.time(), ('%.14g'):format(0.1) }"

_children: set[int] = set()


def _reap(signum: int, frame: FrameType | None) -> None:
    while _children:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _children.discard(pid)


def _serve(control: socket.socket, descriptors: list[int], cells: Cells, zygote_pid: int) -> None:
    """Fork the worker that was ordered, and say what came of it."""
    if not descriptors:  # the kernel drops what finds no room
        control.send(wire.FORKED.pack(-errno.EMFILE))
        return
    with socket.socket(fileno=descriptors[0]) as sock:
        try:
            pid, pidfd = _fork(control, sock, cells, zygote_pid)
        except OSError as error:
            control.send(wire.FORKED.pack(-(error.errno or errno.EAGAIN)))
            return
    try:
        socket.send_fds(control, [wire.FORKED.pack(pid)], [pidfd])
    finally:
        os.close(pidfd)


def _fork(
    control: socket.socket, sock: socket.socket, cells: Cells, zygote_pid: int
) -> tuple[int, int]:
    """Fork a worker that serves a socket, and return its process id and its pidfd.

    Raises:
        OSError: There is no room for it. No process is left of it.
    """
    # Until its pidfd is taken the child must not be reaped: its id could be another's by then.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    try:
        pid = os.fork()
        if pid == 0:
            _be_worker(control, sock, cells, zygote_pid)
        _children.add(pid)
        try:
            return pid, os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            raise
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def _be_worker(
    control: socket.socket, sock: socket.socket, cells: Cells, zygote_pid: int
) -> NoReturn:
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        control.close()
        worker.run(sock, cells, zygote_pid)
        code = 0
    except OSError:
        pass  # the server closed the socket in the middle of a frame: it ended the script
    finally:
        os._exit(code)


def _end_children() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for pid in _children:
        os.kill(pid, signal.SIGKILL)  # not reaped yet, so the id is still its own
    for pid in _children:
        os.waitpid(pid, 0)


def _warmed() -> Cells:
    """Return what workers have their states of, after every path of one was taken once.

    What opens a file the first time it is used must do so here: the jail forbids it.
    """
    time.tzset()
    jail.missing_filter()
    has_library = not missing_library()
    if has_library:
        handle_alarm()
    cells = Cells(compile_kernel(), set_back=has_library)
    cell = cells.take(hook_seconds=0.0)
    program = b"\x91" + msgspec.msgpack.encode({"name": "warm.lua", "source": _WARM})
    cell.begin(program, heap_bytes=64 << 20, message_bytes=1 << 20)
    cell.exchange(b"\x91" + msgspec.msgpack.encode(["load", {"context": {"now": 0.0}}]))
    del cell
    cells.renew()
    return cells


def main() -> None:
    """Serve the control socket whose number is the first argument, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the server's business
    signal.signal(signal.SIGCHLD, _reap)
    control = socket.socket(fileno=int(sys.argv[1]))
    zygote_pid = os.getpid()
    cells = _warmed()
    gc.collect()
    gc.disable()
    gc.freeze()  # forks then share these pages
    try:
        while True:
            message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            if not message:
                break
            _serve(control, descriptors, cells, zygote_pid)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server is gone; nobody is left to fork for
    finally:
        _end_children()


if __name__ == "__main__":
    main()
