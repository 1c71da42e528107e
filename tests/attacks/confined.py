"""Native code in a jail: what it tries, and what the kernel answers. Run by `unfiltered`.

As if a script had broken out of Lua. Prints, as JSON, by what was tried: "done",
or the name of the error. The argument `ordinary` makes root somebody else first:
some limits do not bind root.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from llmspell.runtime import jail

MEMORY_BYTES = 512 << 20
NOBODY = 65534

_PTRACE_SEIZE = 0x4206
_IPC_PRIVATE, _IPC_RMID = 0, 0


def _fork() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _raise_limit() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def _libc(name: str, *arguments: int) -> int:
    result: int = getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments)
    if result == -1:
        raise OSError(ctypes.get_errno(), name)
    return result


def _share_memory() -> None:
    """Reserve memory that outlives the process that asked for it."""
    _libc("shmctl", _libc("shmget", _IPC_PRIVATE, 4096, 0o600), _IPC_RMID, 0)


def _acts(directory: Path) -> dict[str, Callable[[], object]]:
    return {
        "open a file": lambda: os.open("/etc/hosts", os.O_RDONLY),
        "make a file": lambda: os.open(directory / "new", os.O_CREAT | os.O_WRONLY),
        "open a socket": lambda: socket.socket(),
        "open a pipe": os.pipe,
        "take memory": lambda: len(bytes(2 * MEMORY_BYTES)),
        "fork": _fork,
        "raise a limit": _raise_limit,
        "trace the server": lambda: _libc("ptrace", _PTRACE_SEIZE, os.getppid(), 0, 0),
        "signal the server": lambda: os.kill(os.getppid(), 0),
        "remove a file": lambda: (directory / "old").unlink(),
        "empty a file": lambda: os.truncate(directory / "kept", 0),
        "make a directory": lambda: (directory / "made").mkdir(),
        "share memory": _share_memory,
    }


def _answer(act: Callable[[], object]) -> str:
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    except (MemoryError, ValueError) as error:  # setrlimit has no OSError
        return type(error).__name__
    return "done"


def _try_all(directory: Path, sock: socket.socket) -> None:
    acts = _acts(directory)
    jail.confine(MEMORY_BYTES, sock.fileno())
    jail.lock_down(sock.fileno())
    answers = {name: _answer(act) for name, act in acts.items()}
    sock.sendall(json.dumps(answers).encode())


def main() -> None:
    """Confine a child, and print what it says."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for file in ("old", "kept"):
            (directory / file).write_bytes(b"x")
        if "ordinary" in sys.argv and os.geteuid() == 0:
            for path in (directory, *directory.iterdir()):
                os.chown(path, NOBODY, NOBODY)
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            try:
                _try_all(directory, theirs)
            finally:
                os._exit(0)
        theirs.close()
        print(ours.recv(1 << 16).decode())
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
