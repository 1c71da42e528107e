"""The public keys that an issuer signs with, kept for a while, fetched anew when they change.

A token decides which of the keys it is checked with, and nothing else: neither where they come
from nor, beyond what the settings allow, how.
"""

from __future__ import annotations

import asyncio
import logging
import math

import jwt

from llmspell.clock import Clock
from llmspell.endpoints.auth.issuer import Issuer, IssuerError
from llmspell.errors import AccessUnavailable
from llmspell.values import Object

KEEP_SECONDS = 600.0
"""How long the keys are used before they are looked at again."""

STALE_SECONDS = 3600.0
"""How long they are used while the issuer can't be reached."""

RETRY_SECONDS = 10.0
"""Least time between two looks that unknown keys or failures cause."""

_MOST_KEYS = 100
_FAMILIES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}

_log = logging.getLogger(__name__)


class KeySet:
    """The keys of one issuer."""

    def __init__(self, issuer: Issuer, clock: Clock) -> None:
        self._issuer = issuer
        self._clock = clock
        self._keys: list[Object] | None = None
        self._fetched = 0.0
        self._tried: float = -math.inf
        self._has_failed = False
        self._refreshing: asyncio.Task[None] | None = None
        self._fetching = asyncio.Lock()

    async def find(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        """Return the key that a token names, or None when the issuer has none such.

        Args:
            kid: What its header calls the key; without a name it must be the only one that fits.
            algorithm: An algorithm that the settings allow.

        Raises:
            AccessUnavailable: The issuer can't be asked.
        """
        age = self._clock.monotonic() - self._fetched
        is_due = age > KEEP_SECONDS
        if self._keys is None or age > STALE_SECONDS or (is_due and not self._has_failed):
            await self._fetch()
        elif is_due and self._may_try():
            # It failed the last time: nobody waits until it fails again, perhaps for seconds.
            self._refreshing = asyncio.ensure_future(self._refresh())
        found = self._select(kid, algorithm)
        if found is None and self._may_try():
            await self._fetch()
            found = self._select(kid, algorithm)
        return found

    def _may_try(self) -> bool:
        return self._clock.monotonic() - self._tried >= RETRY_SECONDS

    async def _fetch(self) -> None:
        """Fetch the keys, or go on with the old ones for as long as that is sound.

        Raises:
            AccessUnavailable: There are none to go on with.
        """
        await self._refresh()
        if self._keys is None or self._clock.monotonic() - self._fetched > STALE_SECONDS:
            wait = max(0.0, self._tried + RETRY_SECONDS - self._clock.monotonic())
            raise AccessUnavailable(
                f"no token can be checked: the keys of {self._issuer.url} can't be had",
                data={"retry_after": round(wait, 3)},
            )

    async def _refresh(self) -> None:
        tried = self._tried
        async with self._fetching:
            # Whoever waited meanwhile is served by the same answer, and by the same failure.
            if self._tried == tried and self._may_try():
                self._tried = self._clock.monotonic()
                try:
                    self._keys = (await self._issuer.keys())[:_MOST_KEYS]
                    self._fetched = self._clock.monotonic()
                    self._has_failed = False
                except IssuerError as error:
                    self._has_failed = True
                    _log.warning("the keys of %s can't be had: %s", self._issuer.url, error)

    def _select(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        fitting = [key for key in self._keys or () if _fits(key, algorithm)]
        if kid is not None:
            fitting = [key for key in fitting if key.get("kid") == kid]
        if len(fitting) != 1:
            return None
        try:
            return jwt.PyJWK(fitting[0], algorithm=algorithm)
        except jwt.PyJWTError as error:
            _log.warning("key %r of %s is unusable: %s", kid, self._issuer.url, error)
            return None


def _fits(key: Object, algorithm: str) -> bool:
    """Return whether a key may sign with an algorithm: RFC 7517 4.1, 4.2 and 4.4."""
    return (
        key.get("kty") == _FAMILIES[algorithm[:2]]
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
    )
