"""How often somebody may ask: token buckets, one a principal or address, in memory.

They hold for one server process and begin full after a restart. What a request costs once it
is let in is limited elsewhere (`[limits]`).
"""

from __future__ import annotations

import ipaddress

from llmspell.clock import Clock, SystemClock
from llmspell.errors import AccessRateLimited
from llmspell.security.principals import Caller

REQUESTS_PER_MINUTE = 60_000
"""What one principal may ask in a minute, unless the settings say otherwise: more than a server
of one core answers, so that only what runs away meets it."""

FAILURES_PER_MINUTE = 60
"""Wrong credentials from one address in a minute."""

_MOST_BUCKETS = 10_000
_ROUNDING = 1e-6  # what sums of seconds may be off


class Buckets:
    """A token bucket for each name: a minute's worth at once, refilled evenly.

    Kept as the one time at which a bucket is full again (generic cell rate algorithm), so a
    full bucket needs no memory.

    Args:
        per_minute: Size of a bucket, and what flows into it in a minute.
    """

    def __init__(self, per_minute: int, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._interval = 60.0 / per_minute
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        """Return how many are remembered: those that may not be full."""
        return len(self._full_at)

    def take(self, name: str) -> float:
        """Take one from a bucket and return 0; from an empty one nothing, and return the seconds
        until there is one again."""
        now = self._clock.monotonic()
        full_at = max(self._full_at.get(name, now), now) + self._interval
        if full_at - now > 60.0 + _ROUNDING:
            return full_at - now - 60.0
        if len(self._full_at) >= _MOST_BUCKETS and name not in self._full_at:
            self._forget(now)
        self._full_at[name] = full_at
        return 0.0

    def wait(self, name: str) -> float:
        """Return the seconds until a bucket has one again; 0 when it has. Takes nothing."""
        full_at = self._full_at.get(name)
        if full_at is None:
            return 0.0
        wait = full_at + self._interval - self._clock.monotonic() - 60.0
        return wait if wait > _ROUNDING else 0.0

    def _forget(self, now: float) -> None:
        """Drop the full buckets; when that is not enough, the half that was used least."""
        kept = sorted((full_at, name) for name, full_at in self._full_at.items() if full_at > now)
        if len(kept) > _MOST_BUCKETS // 2:
            kept = kept[-_MOST_BUCKETS // 2 :]
        self._full_at = {name: full_at for full_at, name in kept}


class RateLimit:
    """How many requests a principal may send.

    Args:
        per_minute: The setting `server.requests_per_minute`.
    """

    def __init__(self, per_minute: int = REQUESTS_PER_MINUTE, clock: Clock | None = None) -> None:
        self._buckets = Buckets(per_minute, clock)
        self._per_minute = per_minute

    def take(self, caller: Caller) -> None:
        """Count one request of a caller.

        Raises:
            AccessRateLimited: It is one too many; `data["retry_after"]` is in seconds.
        """
        wait = self._buckets.take(caller.principal)
        if wait:
            raise AccessRateLimited(
                f"more than {self._per_minute} requests in a minute",
                data={"retry_after": round(wait, 3)},
            )


class FailedAttempts:
    """Wrong credentials by the address they came from.

    An address with too many is refused without a look at what it sends, except what was right
    before: whoever works behind the same proxy goes on.
    """

    def __init__(self, per_minute: int = FAILURES_PER_MINUTE, clock: Clock | None = None) -> None:
        self._buckets = Buckets(per_minute, clock)
        # Python's keyed hashes, so that no credential is kept.
        self._right: dict[int, None] = {}

    def check(self, address: str, credential: str) -> None:
        """Refuse a credential that may be one guess too many.

        Raises:
            AccessRateLimited: So it is.
        """
        wait = self._buckets.wait(_network(address))
        if wait and hash(credential) not in self._right:
            raise AccessRateLimited(
                "too many wrong credentials from this address",
                hint="wait, then try again with the right one",
                data={"retry_after": round(wait, 3)},
            )

    def wrong(self, address: str) -> None:
        """Count a wrong credential."""
        self._buckets.take(_network(address))

    def right(self, credential: str) -> None:
        """Remember a credential that was right."""
        known = hash(credential)
        if known not in self._right:
            if len(self._right) >= _MOST_BUCKETS:
                del self._right[next(iter(self._right))]
            self._right[known] = None


def _network(address: str) -> str:
    """Return what one guesser holds: an IPv4 address, or the /64 of an IPv6 one."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address
