"""The keeper: a small parent of the owner that puts another one in its place when it is killed.

It has loaded what an owner needs, holds no lock, no socket and no database, and
runs nothing. So the next owner is there within a tenth of a second, where a
process started anew would take one; and saved runs and schedules go on although
no client is there to notice. An owner that ends by itself is not replaced, and
a keeper that is killed is not missed: bridges then start an owner themselves.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Callable

ENDED_BY = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""Signals that mean what they say. Any other that ends an owner is an accident."""

SHORT_SECONDS = 1.0
SHORT_LIVES = 10
"""After so many owners in a row that lived no longer, none is put in place any more."""

LOAD_SECONDS = 1.0
"""How long the first owner has the processor for itself before the rest is loaded here."""


def keep(own: Callable[[int], int], forked: Callable[[], None], load: Callable[[], None]) -> int:
    """Fork owners until one ends by itself; return its exit status. Returns in each child too.

    Call it where no thread runs besides this one.

    Args:
        own: What an owner does, given the keeper's process id; returns the exit status.
        forked: Called here after each fork.
        load: Loads what later owners are to find loaded.
    """
    keeper = os.getpid()
    short = 0
    is_loaded = False
    while True:
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            return own(keeper)
        forked()
        status = None
        if not is_loaded:
            status = _within(pid, LOAD_SECONDS)
            if status is None or _was_killed(status):  # else there is no later owner
                load()
                gc.freeze()
                is_loaded = True
        if status is None:
            _, status = os.waitpid(pid, 0)
        if not _was_killed(status):
            return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1
        short = short + 1 if time.monotonic() - began < SHORT_SECONDS else 0
        name = signal.Signals(os.WTERMSIG(status)).name
        print(f"owner {pid} was ended by {name}", file=sys.stderr, flush=True)
        if short >= SHORT_LIVES:
            print(f"{short} owners in a row ended at once: no more", file=sys.stderr, flush=True)
            return 1


def _was_killed(status: int) -> bool:
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) not in ENDED_BY


def _within(pid: int, seconds: float) -> int | None:
    """Return the exit status of a child that ends in this time, else None."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.02)
    return None
