"""Scripts in threads of this process: for trusted projects, tests and machines without workers.

The same kernel, with the count hook on. A script that computes too long inside
one C function (a pattern, `table.move`) is given up after a while, and its
thread goes on until that function ends; a defect in Lua is a defect of the
whole server. Nothing here is a wall against hostile code.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time

from llmspell.errors import LimitWallClock, WorkerDied
from llmspell.runtime.engine import ScriptLimits
from llmspell.runtime.lua.cell import Cell, Kernel, compile_kernel
from llmspell.runtime.workers import Domain, busy, closed

_WALL_FACTOR = 8
"""How much longer than its CPU time a slice may last: processors are shared."""
_GRACE_SECONDS = 1.0


class InlineChannel:
    """One state in a thread of its own. Serves one script."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._frames: queue.SimpleQueue[tuple[bytes, asyncio.Future[bytes]] | None] = (
            queue.SimpleQueue()
        )
        self._limits = ScriptLimits()
        self._name = ""
        self.is_closed = False
        self.script_cpu_seconds = 0.0
        """CPU time of the script, up to its last reply."""

    def begin(
        self, limits: ScriptLimits, name: str, program: bytes, *, hook_seconds: float = 0.0
    ) -> None:
        """Give the state to a script of the file `name`. Comes before its first exchange."""
        self._limits, self._name = limits, name
        seconds = hook_seconds or limits.slice_seconds
        # A daemon: a thread that does not come back must not hold up the end of the process.
        threading.Thread(
            target=self._serve, args=(program, seconds), name=f"lua {name}", daemon=True
        ).start()

    async def exchange(self, frame: bytes) -> bytes:
        """Give the script a frame and return its reply.

        Raises:
            LimitWallClock: It did not give way in time, and the hook did not reach it.
            WorkerDied: It was ended.
        """
        if self.is_closed:
            raise WorkerDied("the script was ended", where=self._name)
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._frames.put((frame, reply))
        seconds = self._limits.slice_seconds
        try:
            async with asyncio.timeout(_WALL_FACTOR * seconds + _GRACE_SECONDS):
                return await reply
        except TimeoutError:
            self.close()
            raise LimitWallClock(
                f"the script computed for {seconds:g} s without giving way", where=self._name
            ) from None
        except BaseException:  # cancelled too: the thread is in the middle of something
            self.close()
            raise

    def close(self) -> None:
        """Let the thread end and the state go. Closing twice is no error."""
        if not self.is_closed:
            self.is_closed = True
            self._frames.put(None)

    def _serve(self, program: bytes, seconds: float) -> None:
        cell = Cell(self._kernel, hook_seconds=seconds)
        limits = self._limits
        cell.begin(program, heap_bytes=limits.heap_bytes, message_bytes=limits.message_bytes)
        while (item := self._frames.get()) is not None:
            frame, reply = item
            made = cell.exchange(frame)
            self.script_cpu_seconds = time.thread_time()
            loop = reply.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_answer, reply, made)


def _answer(reply: asyncio.Future[bytes], made: bytes) -> None:
    if not reply.done():  # nobody waits any more
        reply.set_result(made)


class InlinePool:
    """Hands out states as `Pool` hands out workers; each serves one script.

    Args:
        total: Scripts that may have a state at the same time.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._for_new = total - total // 4
        self._kernel: Kernel | None = None
        self._active: set[InlineChannel] = set()
        self._reserved = 0
        self._is_closed = False

    @property
    def pids(self) -> list[int]:
        """Process ids of workers: none."""
        return []

    async def warm_up(self) -> None:
        """Compile the kernel."""
        self._kernel = self._kernel or compile_kernel()

    def reserve(self) -> bool:
        """Set room for a new script aside, if there is any."""
        if len(self._active) + self._reserved >= self._for_new:
            return False
        self._reserved += 1
        return True

    def unreserve(self) -> None:
        """Give up what `reserve` set aside."""
        self._reserved -= 1

    def acquire(
        self, domain: Domain | None, limits: ScriptLimits, *, is_reserved: bool = False
    ) -> InlineChannel:
        """Return a state. See `Workers.acquire`."""
        if is_reserved:
            self._reserved -= 1
        if self._is_closed:
            raise closed()
        if len(self._active) >= self._total:
            raise busy(
                f"{self._total} scripts have a state, which is the limit", limit="limits.workers"
            )
        if self._kernel is None:
            self._kernel = compile_kernel()
        channel = InlineChannel(self._kernel)
        self._active.add(channel)
        return channel

    def release(self, worker: InlineChannel, *, is_clean: bool) -> None:
        """Let a state go."""
        self._active.discard(worker)
        worker.close()

    async def close(self) -> None:
        """Let every state go. Closing twice is no error."""
        self._is_closed = True
        for channel in self._active:
            channel.close()
        self._active.clear()
