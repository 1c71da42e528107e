"""`owner.lock`: who owns a state directory. Held by flock for life, so it dies with its holder."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from llmspell.bridge.sockets import is_served
from llmspell.bridge.spawning import private_directory
from llmspell.errors import StateError, StateOwned

LOCK_NAME = "owner.lock"


class Holder(NamedTuple):
    """Who holds the lock, as it wrote there."""

    pid: int
    """0 when it has not written yet."""
    keeper: int | None = None
    """The process that puts another owner in its place when it is killed."""


def holder_of(state: Path) -> Holder | None:
    """Return who owns `state`, or None when nobody does."""
    try:
        descriptor = os.open(state / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def owner_pid(state: Path) -> int | None:
    """Return the pid of the process that owns `state`, or None when nobody does."""
    holder = holder_of(state)
    return None if holder is None else holder.pid


def _read(descriptor: int) -> Holder:
    numbers = [int(word) for word in os.pread(descriptor, 64, 0).split() if word.isdigit()]
    return Holder(numbers[0] if numbers else 0, numbers[1] if len(numbers) > 1 else None)


class OwnerLock:
    """Ownership of a state directory, until `release` or the end of the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(
        cls,
        state: Path,
        *,
        keeper: int | None = None,
        flock: Callable[[int, int], None] = fcntl.flock,
    ) -> OwnerLock:
        """Take the lock of `state`, which is made when absent.

        Args:
            keeper: Who puts another owner in this one's place when it is killed.
            flock: How the operating system is asked.

        Raises:
            StateOwned: Another process holds it; `data["pid"]` is its pid.
            StateError: Locks do not work there.
        """
        private_directory(state)
        path = state / LOCK_NAME
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _check_exclusion(path, flock)
        except BlockingIOError:
            pid = _read(descriptor).pid or None
            os.close(descriptor)
            raise StateOwned(
                f"the state directory {str(state)!r} is owned by process {pid or 'unknown'}",
                data={"pid": pid, "state": str(state)},
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise StateError(
                f"locks do not work in the state directory {str(state)!r}: "
                f"{error.strerror or error}",
                hint="choose a directory on a local disk: --state DIR, or LLMSPELL_STATE",
            ) from None
        # For messages only: whether somebody owns is decided by the lock.
        os.ftruncate(descriptor, 0)
        written = f"{os.getpid()} {keeper}" if keeper is not None else str(os.getpid())
        os.pwrite(descriptor, written.encode(), 0)
        return cls(descriptor)

    @classmethod
    async def take_soon(
        cls, state: Path, *, seconds: float, keeper: int | None = None
    ) -> OwnerLock:
        """Take the lock, waiting for a holder that is about to end.

        Raises:
            StateOwned: The holder serves its socket, or still is there after `seconds`.
            StateError: Locks do not work there.
        """
        end = asyncio.get_running_loop().time() + seconds
        while True:
            try:
                return cls.take(state, keeper=keeper)
            except StateOwned:
                if asyncio.get_running_loop().time() > end or is_served(state):
                    raise
            await asyncio.sleep(0.005)

    def release(self) -> None:
        """Give the directory up. Releasing twice is no error."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _check_exclusion(path: Path, flock: Callable[[int, int], None]) -> None:
    """Find out whether a lock that was granted keeps others out: on some file systems it does not.

    Raises:
        OSError: It does not.
    """
    second = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    finally:
        os.close(second)
    raise OSError(errno.ENOLCK, "a lock that is held is given to a second holder")
