"""How long what was opened with a credential may stay open: streams and sockets, not requests.

A request is let in once and answered. What stays open after that is held by an admission, which
ends when its credential is revoked, and at the time it expires. Nothing is asked again and again:
a revocation is told by whoever keeps the credentials, an expiry is one timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self, TypeAlias

from llmspell.clock import Clock, SystemClock
from llmspell.errors import AccessUnauthenticated

CLOSE_SECONDS = 2.0
"""How long a client has to take the end of what its admission ended, before it is cut off."""

Watch: TypeAlias = Callable[[Callable[[], None]], Callable[[], None]]
"""Has what it is given called once a credential is revoked; returns what takes that back."""


def outlived() -> AccessUnauthenticated:
    """Return what the client of something that its admission ended is told."""
    return AccessUnauthenticated(
        "the credential this was opened with has expired or was revoked",
        hint="open it again with one that counts; what was begun goes on",
        data={"reason": "invalid_token"},
    )


class Held:
    """Something that is held open. A context, or to be released by whoever ends it.

    Args:
        admission: By which right.
        end: Called at most once, when the right ends first.
    """

    def __init__(self, admission: Admission, end: Callable[[], None]) -> None:
        self._end: Callable[[], None] | None = end
        self._timer: asyncio.Task[None] | None = None
        self._unwatch: Callable[[], None] | None = None
        if admission.until is not None:
            self._timer = asyncio.ensure_future(self._expire(admission.clock, admission.until))
        if admission.watch is not None:
            self._unwatch = admission.watch(self._over)

    def release(self) -> None:
        """Hear of nothing any more. Releasing twice is no error."""
        self._end = None
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        if self._timer is not None:
            self._timer.cancel()

    async def _expire(self, clock: Clock, until: float) -> None:
        await clock.sleep_until(until)
        self._timer = None  # it has done its work, and is not to be cancelled in the midst of it
        self._over()

    def _over(self) -> None:
        end = self._end
        self.release()
        if end is not None:
            end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Admission:
    """The right that a credential gives to what is opened with it.

    Args:
        until: Wall time at which it ends by itself; None = never.
        watch: Tells of a revocation; None where there is none.
    """

    def __init__(
        self, *, until: float | None = None, watch: Watch | None = None, clock: Clock | None = None
    ) -> None:
        self.until = until
        self.watch = watch
        self.clock = clock or SystemClock()

    def hold(self, end: Callable[[], None]) -> Held:
        """Have `end` called once the right has ended, soon if it has already."""
        return Held(self, end)
