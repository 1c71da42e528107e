"""Starts an owner: one at a time, detached, waited for until it serves or says why not.

What has to wait is a generator of `Wait`s, so that the bridge can go on
answering its client meanwhile, and a command can simply block (`finish`).
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from llmspell.bridge.hello import UnreachableError

START_SECONDS = 30.0
"""How long a start may take, database recovery and loading of spells included."""

LOCK_SECONDS = 10.0
"""How long somebody else's start is waited for. After that this process starts one itself: two
owners there can't be, because the loser of `owner.lock` ends."""

MAX_LOG_BYTES = 8 << 20
"""Size from which `log/owner.log` is set aside as `owner.log.1` before the next start."""

_children: list[int] = []
_T = TypeVar("_T")


class Wait(NamedTuple):
    """What a generator waits for before it is to be resumed."""

    descriptor: int
    """Until this can be read; -1 = for time alone."""
    seconds: float
    """But no longer than this."""


Waiting = Generator[Wait, None, _T]


def finish(waiting: Waiting[_T]) -> _T:
    """Run a generator of waits to its end, blocking, and return what it returns."""
    try:
        wait = next(waiting)
        while True:
            descriptors = [wait.descriptor] if wait.descriptor >= 0 else []
            select.select(descriptors, [], [], wait.seconds)
            wait = next(waiting)
    except StopIteration as end:
        return end.value


def private_directory(path: Path) -> None:
    """Make a directory only this user may enter; an existing one must be this user's.

    Raises:
        PermissionError: It belongs to somebody else.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise PermissionError(errno.EPERM, "it belongs to another user", os.fspath(path))


class SpawnLock:
    """`spawn.lock`: whoever holds it may start an owner. It dies with its holder."""

    def __init__(self, state: Path) -> None:
        self._path = state / "spawn.lock"
        self._descriptor = -1
        self._since = time.monotonic()

    def take(self) -> bool:
        """Take it if it is free, or has been waited for long enough; return whether it may start.

        Raises:
            OSError: The file can't be made, or this file system has no locks.
        """
        if self._descriptor < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return time.monotonic() - self._since > LOCK_SECONDS
        return True

    def release(self) -> None:
        """Give it up. Releasing twice is no error."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._since = time.monotonic()


def spawn(
    project: Path, state: Path, options: Sequence[str], role: str, deadline: float
) -> Waiting[None]:
    """Start a detached owner and wait until it serves.

    Args:
        options: Global options of its command line, besides these two directories.
        role: What it will be asked to speak first.

    Raises:
        UnreachableError: It failed, ended, or took too long.
    """
    ready, told = os.pipe()
    log = _open_log(state)
    try:
        os.set_inheritable(told, True)
        # -P: the working directory is the client's and must not be searched for modules.
        command = [sys.executable, "-P", "-m", "llmspell", "--project", os.fspath(project)]
        command += ["--state", os.fspath(state), *options]
        command += ["own", "--ready", str(told), "--speak", role]
        pid = os.posix_spawn(
            sys.executable,
            command,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
            setsid=True,
        )
        _children.append(pid)
        os.close(told)
        told = -1
        yield from _readiness(ready, deadline)
    except OSError as error:
        raise UnreachableError(f"an owner could not be started: {error}") from error
    finally:
        for descriptor in (ready, told, log):
            if descriptor >= 0:
                os.close(descriptor)


def reap() -> None:
    """Collect owners this process started that have ended, so that none stays a zombie."""
    for pid in list(_children):
        try:
            done, _ = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            done = pid
        if done:
            _children.remove(pid)


def _open_log(state: Path) -> int:
    directory = state / "log"
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / "owner.log"
    if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
        path.replace(directory / "owner.log.1")
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _readiness(end: int, deadline: float) -> Waiting[None]:
    """Read what a started owner says of itself: a bare newline, or an error object."""
    said = b""
    while not said.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0:
            raise UnreachableError(
                f"an owner was started and is not ready in {START_SECONDS:g} s", retryable=True
            )
        yield Wait(end, left)
        # A resumed wait may be over time: only a descriptor that can be read is.
        readable, _, _ = select.select([end], [], [], 0)
        if not readable:
            continue
        chunk = os.read(end, 65536)
        if not chunk:
            raise UnreachableError("an owner was started and ended at once")
        said += chunk
    if said.strip():
        error = json.loads(said)
        if error.get("code") == "state.owned":
            return  # somebody else was quicker: it serves
        raise UnreachableError(f"an owner could not start: {error['message']}", cause=error)
