"""`owner.lock`: who owns a state directory. Held by flock for life, so it dies with its holder."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

from llmspell.bridge.meeting import is_served, private_directory
from llmspell.errors import StateOwned

LOCK_NAME = "owner.lock"


def owner_pid(state: Path) -> int | None:
    """Return the pid of the process that owns `state`, or None when nobody does."""
    try:
        descriptor = os.open(state / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        written = os.pread(descriptor, 32, 0)
        return int(written) if written.isdigit() else 0
    else:
        return None
    finally:
        os.close(descriptor)


class OwnerLock:
    """Ownership of a state directory, until `release` or the end of the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, state: Path) -> OwnerLock:
        """Take the lock of `state`, which is made when absent.

        Raises:
            StateOwned: Another process holds it; `data["pid"]` is its pid.
        """
        private_directory(state)
        descriptor = os.open(state / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            written = os.pread(descriptor, 32, 0)
            os.close(descriptor)
            pid = int(written) if written.isdigit() else None
            raise StateOwned(
                f"the state directory {str(state)!r} is owned by process {pid or 'unknown'}",
                data={"pid": pid, "state": str(state)},
            ) from None
        # For messages only: whether somebody owns is decided by the lock.
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        return cls(descriptor)

    @classmethod
    async def take_soon(cls, state: Path, *, seconds: float) -> OwnerLock:
        """Take the lock, waiting for a holder that is about to end.

        Raises:
            StateOwned: The holder serves its socket, or still is there after `seconds`.
        """
        end = asyncio.get_running_loop().time() + seconds
        while True:
            try:
                return cls.take(state)
            except StateOwned:
                if asyncio.get_running_loop().time() > end or is_served(state):
                    raise
            await asyncio.sleep(0.02)

    def release(self) -> None:
        """Give the directory up. Releasing twice is no error."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
