"""The pool: workers forked ahead by a zygote, each given to one script at a time.

A worker that has run a script's code belongs to the trust domain of that script
for ever: (tenant, principal, program version). It waits, warm, for the next
script of that domain, and is killed after a fault, after so many scripts, when
it idles, or when its room is needed. A worker that ran code of no domain is
killed after use.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections import OrderedDict, deque
from dataclasses import dataclass

from llmspell.errors import LimitBusy
from llmspell.runtime.channel import Channel, not_forked
from llmspell.runtime.engine import ScriptLimits
from llmspell.runtime.spawner import Spawner
from llmspell.runtime.workers import Domain, busy, closed

_log = logging.getLogger(__name__)

_BASE_BYTES = 256 << 20
"""Address space of the interpreter itself, with room to spare."""
_END_SECONDS = 0.05
"""How long after its script a warm worker is told to forget it, unless another script has come."""
_WORKER_CPU_SECONDS = 600
"""A worker older than this in CPU time is not kept: far below what its jail ends it at."""


def room_for(limits: ScriptLimits) -> int:
    """Return the address space in bytes a worker needs for a script of these limits."""
    return _BASE_BYTES + limits.heap_bytes + 8 * limits.message_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """How many workers there may be, and how long they are kept."""

    idle: int = 2
    """Workers kept ready that belong to no domain yet."""
    total: int = 256
    """Workers of any kind at the same time."""
    warm: int = 16
    """Warm workers that wait for the next script of their domain."""
    warm_scripts: int = 1000
    """Scripts a worker runs before it is replaced."""
    warm_seconds: float = 30.0
    """How long a warm worker waits."""


class Pool:
    """Workers of one engine. Belongs to the event loop it is first used in."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        # New casts leave a part of the workers to the casts that those under way will begin.
        self._for_new = limits.total - limits.total // 4
        self._spawner: Spawner | None = None
        self._ended: list[Spawner] = []
        self._idle: deque[Channel] = deque()
        self._active: dict[Channel, Domain | None] = {}
        self._reserved = 0
        self._warm: OrderedDict[Channel, tuple[Domain, float]] = OrderedDict()
        self._unended: dict[Channel, float] = {}
        """Warm workers that still hold the state of their last script, and since when."""
        self._by_domain: dict[Domain, list[Channel]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._ender: asyncio.TimerHandle | None = None
        self._room_bytes = room_for(ScriptLimits())
        self._is_closed = False

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that are forked."""
        channels = (*self._idle, *self._warm, *self._active)
        return [channel.pid for channel in channels if channel.pid is not None]

    async def warm_up(self) -> None:
        """Return once the workers to be kept ready are forked."""
        self._refill()
        for channel in tuple(self._idle):
            await channel.birth()

    def reserve(self) -> bool:
        """Set room for a new script's worker aside, if there is any."""
        if len(self._active) + self._reserved >= self._for_new:
            return False
        self._reserved += 1
        return True

    def unreserve(self) -> None:
        """Give up what `reserve` set aside."""
        self._reserved -= 1

    def acquire(
        self, domain: Domain | None, limits: ScriptLimits, *, is_reserved: bool = False
    ) -> Channel:
        """Return a worker. See `Workers.acquire`."""
        if is_reserved:
            self._reserved -= 1
        if self._is_closed:
            raise closed()
        room = room_for(limits)
        self._room_bytes = max(self._room_bytes, room)
        channel = self._take_warm(domain, room) if domain is not None else None
        if channel is None:
            if len(self._active) >= self._limits.total:
                raise busy(
                    f"{self._limits.total} scripts have a worker, which is the limit",
                    limit="limits.workers",
                )
            self._drop_useless(room)
            channel = self._idle.popleft() if self._idle else self._fork()
            # Later, so that the script's first frame goes out before the next fork begins.
            asyncio.get_running_loop().call_soon(self._refill)
        self._active[channel] = domain
        return channel

    def release(self, worker: Channel, *, is_clean: bool) -> None:
        """Take a worker back: to wait for its domain's next script, or to be killed."""
        domain = self._active.pop(worker, None)
        if (
            domain is None
            or not is_clean
            or not worker.is_usable
            or worker.scripts >= self._limits.warm_scripts
            or worker.cpu_us >= _WORKER_CPU_SECONDS * 1_000_000
            or self._limits.warm == 0
        ):
            worker.close()
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._warm[worker] = (domain, now)
        self._unended[worker] = now
        if self._ender is None:
            self._ender = loop.call_later(_END_SECONDS, self._end_scripts)
        self._by_domain.setdefault(domain, []).append(worker)
        while len(self._warm) > self._limits.warm:
            self._retire_oldest()
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._limits.warm_seconds, self._sweep)

    async def close(self) -> None:
        """End every worker and the zygote. Closing twice is no error."""
        self._is_closed = True
        for timer in (self._sweeper, self._ender):
            if timer is not None:
                timer.cancel()
        for channel in (*self._idle, *self._warm, *self._active):
            channel.close()
        self._idle.clear()
        self._warm.clear()
        self._unended.clear()
        self._by_domain.clear()
        self._active.clear()
        if self._spawner is not None:
            self._ended.append(self._spawner)
            self._spawner = None
        while self._ended:
            await self._ended.pop().end()

    # -- warm workers

    def _take_warm(self, domain: Domain, room: int) -> Channel | None:
        # The one used last: its memory is in the processor's caches, and the others may retire.
        while channels := self._by_domain.get(domain):
            channel = channels[-1]
            self._forget(channel)
            if channel.is_usable and channel.room_bytes >= room:
                return channel
            channel.close()
        return None

    def _forget(self, channel: Channel) -> None:
        domain, _ = self._warm.pop(channel)
        self._unended.pop(channel, None)
        channels = self._by_domain[domain]
        channels.remove(channel)
        if not channels:
            del self._by_domain[domain]

    def _retire_oldest(self) -> None:
        channel = next(iter(self._warm))
        self._forget(channel)
        channel.close()

    def _end_scripts(self) -> None:
        """Free what ended scripts hold where no script came after them.

        Not at once: to wake a worker costs as much as a small script, and the next script frees
        it as well.
        """
        self._ender = None
        loop = asyncio.get_running_loop()
        while self._unended:
            channel, since = next(iter(self._unended.items()))
            left = since + _END_SECONDS - loop.time()
            if left > 0:
                self._ender = loop.call_later(left, self._end_scripts)
                return
            del self._unended[channel]
            if channel.is_usable:
                channel.end()

    def _sweep(self) -> None:
        """Retire the workers that waited too long; look again when the next one will have."""
        self._sweeper = None
        loop = asyncio.get_running_loop()
        while self._warm:
            channel, (_, since) = next(iter(self._warm.items()))
            left = since + self._limits.warm_seconds - loop.time()
            if left > 0 and channel.is_usable:
                self._sweeper = loop.call_later(left, self._sweep)
                return
            self._retire_oldest()

    # -- workers of no domain yet

    def _fork(self) -> Channel:
        if self._warm and len(self._active) + len(self._warm) >= self._limits.total:
            self._retire_oldest()
        try:
            spawner = self._living_spawner()
            try:
                return spawner.fork(self._room_bytes)
            except ConnectionError:  # it ended unexpectedly: another takes its place
                spawner.disconnect()
                return self._living_spawner().fork(self._room_bytes)
        except OSError as error:
            raise not_forked(error.errno or errno.EAGAIN) from None

    def _living_spawner(self) -> Spawner:
        if self._spawner is None or not self._spawner.is_alive:
            if self._spawner is not None:
                self._ended.append(self._spawner)
                self._spawner = None
            self._spawner = Spawner(asyncio.get_running_loop())
        return self._spawner

    def _drop_useless(self, room: int) -> None:
        """Forget the idle workers that have ended, and end those whose jail is too small."""
        if all(channel.is_usable and channel.room_bytes >= room for channel in self._idle):
            return
        kept: deque[Channel] = deque()
        for channel in self._idle:
            if channel.is_usable and channel.room_bytes >= room:
                kept.append(channel)
            else:
                channel.close()
        self._idle = kept

    def _refill(self) -> None:
        if self._is_closed:
            return
        self._drop_useless(self._room_bytes)
        room = self._limits.total - len(self._active) - len(self._warm)
        try:
            while len(self._idle) < min(self._limits.idle, room):
                self._idle.append(self._fork())
        except LimitBusy as error:  # who needs one before the next attempt is told
            _log.debug("no worker is kept ready: %s", error)
