"""One thread that makes commits durable, all that wait with one sync.

A sync takes as long for a hundred commits as for one, and it must not hold up
the event loop. So each commit that is to be durable is written first, then
waits here: the thread takes all that wait, syncs once, and releases them. Those
that come meanwhile share the next sync. It knows nothing of what it syncs.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from llmspell.errors import InternalError, LlmspellError, StateError

RELEASED_AT_ONCE = 100
"""Who waited for a sync is released in turns of so many."""


class GroupCommit:
    """Shares calls of `sync` among those who wait for one, all on one event loop.

    Args:
        sync: Makes everything written so far durable. Called in the thread, one
            call at a time; an `LlmspellError` it raises reaches everyone it was for.
    """

    def __init__(self, sync: Callable[[], None]) -> None:
        self.rounds = 0
        """Syncs done so far."""
        self._sync = sync
        self._queue: SimpleQueue[asyncio.Future[None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopped = False

    async def wait(self) -> None:
        """Return once a sync that began after this call is done.

        Raises:
            LlmspellError: The sync failed; whether it took effect is unknown.
        """
        if self._stopped:
            raise StateError("the store is closed")
        if self._thread is None:
            # A daemon: a store that was never closed must not keep its process alive.
            self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
            self._thread.start()
        future = asyncio.get_running_loop().create_future()
        self._queue.put(future)
        await future

    def stop(self) -> None:
        """End the thread, after a last sync for those who wait. Blocks for as long."""
        self._stopped = True
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        going = True
        while going:
            taken = [self._queue.get()]
            with contextlib.suppress(Empty):
                while True:
                    taken.append(self._queue.get_nowait())
            waiting = [future for future in taken if future is not None]
            going = len(waiting) == len(taken)
            if waiting:
                self._release(waiting, self._round())

    def _round(self) -> LlmspellError | None:
        try:
            self._sync()
        except LlmspellError as error:
            return error
        except Exception as error:  # a dead thread would leave everyone waiting for ever
            return InternalError(f"the sync of the store failed: {error!r}")
        self.rounds += 1
        return None

    def _release(self, waiting: list[asyncio.Future[None]], error: LlmspellError | None) -> None:
        # A loop that has closed meanwhile has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            waiting[0].get_loop().call_soon_threadsafe(_settle, waiting, error)


def _settle(
    futures: list[asyncio.Future[None]], error: LlmspellError | None, start: int = 0
) -> None:
    """Release futures, some at a time: each wakes a task, and others want a turn of the loop."""
    after = start + RELEASED_AT_ONCE
    if after < len(futures):
        futures[start].get_loop().call_soon(_settle, futures, error, after)
    for future in futures[start:after]:
        if future.done():  # its waiter was cancelled
            continue
        if error is None:
            future.set_result(None)
        else:
            # One each: whoever catches an error may write its run into it.
            future.set_exception(copy.copy(error))
