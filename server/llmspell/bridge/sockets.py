"""Where the owner's socket is, however long the path of its state directory, and who listens."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

SOCKET_NAME = "s.sock"
MAX_SOCKET_PATH = 100
"""Longest path bound as it is, in bytes: the kernel's limit is 104 to 108."""


def bound_socket(state: Path, environ: Mapping[str, str]) -> Path:
    """Return the path an owner of `state` binds: in the state directory when it is short enough.

    Otherwise a name made of the state directory's hash, in the user's runtime
    directory; `s.sock` is then a symbolic link to it, so that a client with
    another environment finds it all the same.
    """
    plain = state / SOCKET_NAME
    if len(os.fsencode(plain)) <= MAX_SOCKET_PATH:
        return plain
    import hashlib  # only long paths need it

    name = hashlib.sha256(os.fsencode(os.path.realpath(state))).hexdigest()[:24] + ".sock"
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    base = Path(runtime, "llmspell") if os.path.isdir(runtime) else None
    if base is None or len(os.fsencode(base / name)) > MAX_SOCKET_PATH:
        base = Path(f"/tmp/llmspell-{os.getuid()}")
    return base / name


def dial(state: Path) -> socket.socket | None:
    """Return a connection to whoever listens on the socket of `state`, or None.

    Raises:
        BlockingIOError: Somebody does, and too many wait to be let in.
    """
    path = state / SOCKET_NAME
    try:
        target = os.path.join(state, os.readlink(path)) if path.is_symlink() else os.fspath(path)
    except OSError:
        return None  # it went away between the two looks
    if len(os.fsencode(target)) > MAX_SOCKET_PATH:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        connection.connect(target)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        connection.close()
        return None
    except BaseException:  # whatever ends this, the descriptor must not stay open
        connection.close()
        raise
    return connection


def is_served(state: Path) -> bool:
    """Return whether somebody listens on the socket of `state`."""
    try:
        connection = dial(state)
    except BlockingIOError:
        return True
    if connection is None:
        return False
    connection.close()
    return True
