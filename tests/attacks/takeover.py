"""Workers that were taken over: real processes in a real jail, which send what they are told to.

A copy of the package, all links but for the worker, is put in front of the
others for the time in which the pool's zygote starts anew. A taken-over worker
looks for orders in what it receives: the input of a cast holds them.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import llmspell
from tests.attacks.house import Attacked, children, ended, zygotes

_WORKER = '''
"""A worker that does as it is ordered."""

import re
import signal


def run(sock, *others):
    received = b""
    while (found := re.search(rb"<<([0-9a-fsq,]*)>>", received)) is None:
        data = sock.recv(1 << 16)
        if not data:
            return
        received += data
    for order in found[1].split(b","):
        if order == b"":  # close at once
            return
        if order == b"s":  # stay, and say nothing
            signal.pause()
        if order == b"q":  # wait a moment for what the server says next
            sock.settimeout(0.03)
            try:
                if not sock.recv(1 << 16):
                    return
            except TimeoutError:
                pass
            sock.settimeout(None)
            continue
        sock.sendall(bytes.fromhex(order.decode()))
'''


def orders(replies: Sequence[bytes], *, stays: bool = False) -> str:
    """Return the input that makes a taken-over worker send these bytes, one a request."""
    parts = ",q,".join(reply.hex() for reply in replies if reply)
    return f"<<{parts},s>>" if stays else f"<<{parts}>>"


@asynccontextmanager
async def taken_over(house: Attacked, directory: Path) -> AsyncGenerator[None]:
    """Have every worker of the house taken over, and at the end none any more."""
    _copy_package(directory / "llmspell")
    sys.path.insert(0, str(directory))
    try:
        await _restart(house)
        yield
    finally:
        sys.path.remove(str(directory))
        await _restart(house)


def _copy_package(target: Path) -> None:
    source = Path(llmspell.__file__).parent
    (target / "runtime").mkdir(parents=True)
    for inside, replaced in ((".", "runtime"), ("runtime", "worker.py")):
        for entry in (source / inside).iterdir():
            if entry.name not in (replaced, "__pycache__"):
                (target / inside / entry.name).symlink_to(entry)
    (target / "runtime" / "worker.py").write_text(_WORKER, encoding="utf-8")


async def _restart(house: Attacked) -> None:
    """End the zygote and all its workers, so that the next cast starts another."""
    old = list(zygotes())
    workers = [worker for zygote in old for worker in children(zygote)]
    for pid in (*old, *workers):
        os.kill(pid, signal.SIGKILL)  # a worker that was taken over need not end with its zygote
    await ended((*old, *workers))
    await house.engine.warm_up()
