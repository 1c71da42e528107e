"""API keys: made, kept as hashes, and recognised.

A key is `lsk_ID_SECRET`: the id is public and names the principal, the secret is 256 random
bits, of which only the SHA-256 is kept; a slow hash would protect nothing that cannot be guessed.
The owner is the only writer, so what it holds in memory is what counts: a revoked key is refused
from the next request on, and whoever holds something open with it is told.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Callable, Sequence

import msgspec

from llmspell.clock import Clock
from llmspell.errors import KeyNotFound, StateError, UsageError
from llmspell.host.door_records import DoorRecords
from llmspell.host.key_interface import ApiKey, NewKey
from llmspell.security.principals import DEFAULT_TENANT, Caller, Door
from llmspell.security.scopes import parse_scopes

log = logging.getLogger(__name__)

PREFIX = "lsk_"
"""What every key begins with, so that it is known for a secret wherever it turns up."""

_KIND = "api.key"
_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_LENGTH = 12
_USED_SECONDS = 60.0  # how often the use of a key is written down
_LABEL = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
_TENANT = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


class _Record(msgspec.Struct, kw_only=True):
    label: str
    tenant: str
    scopes: list[str] | None
    hash: bytes
    created_at: float
    expires_at: float | None
    last_used_at: float | None = None


class ApiKeys:
    """The keys of one owner. See `KeyAdmin`."""

    def __init__(self, records: DoorRecords, clock: Clock) -> None:
        self._records = records
        self.clock = clock
        """The time that keys expire by."""
        self._keys: dict[str, _Record] | None = None
        self._changing = asyncio.Lock()
        self._written: dict[str, float] = {}
        self._watching: dict[str, dict[object, Callable[[], None]]] = {}

    async def add(
        self,
        label: str,
        *,
        tenant: str = DEFAULT_TENANT,
        scopes: Sequence[str] | None = None,
        seconds: float | None = None,
    ) -> NewKey:
        """Make a key; it is durable when this returns. See `KeyAdmin.add`."""
        if _LABEL.fullmatch(label) is None:
            raise UsageError(
                f"no label {label!r}", hint="a label is one line, up to 100 characters"
            )
        if _TENANT.fullmatch(tenant) is None:
            raise UsageError(
                f"no tenant {tenant!r}", hint="letters, digits and _ . : - are allowed, 64 in all"
            )
        if seconds is not None and seconds <= 0:
            raise UsageError("a key that has expired opens nothing", hint="give it a time to count")
        allowed = None if scopes is None else sorted(parse_scopes(scopes))
        if allowed == []:
            raise UsageError("a key without a scope opens nothing", hint="leave scopes out for all")
        keys = await self._loaded()
        async with self._changing:
            id = _new_id()
            while id in keys:
                id = _new_id()
            secret = f"{PREFIX}{id}_{secrets.token_urlsafe(32)}"
            now = self.clock.time()
            record = _Record(
                label=label,
                tenant=tenant,
                scopes=allowed,
                hash=_hash(secret),
                created_at=now,
                expires_at=None if seconds is None else now + seconds,
            )
            await self._records.put(_KIND, id, msgspec.to_builtins(record, builtin_types=(bytes,)))
            keys[id] = record
        return NewKey(key=self._shown(id, record), secret=secret)

    async def list(self) -> Sequence[ApiKey]:
        """Return all keys, the oldest first. See `KeyAdmin.list`."""
        keys = await self._loaded()
        found = [self._shown(id, record) for id, record in keys.items()]
        return sorted(found, key=lambda key: (key.created_at, key.id))

    async def revoke(self, id: str) -> ApiKey:
        """Delete a key. See `KeyAdmin.revoke`."""
        keys = await self._loaded()
        # Refused before the disk knows of it: what follows may fail, and then it is back.
        record = keys.pop(id, None)
        if record is None:
            raise KeyNotFound(f"no key {id!r}")
        async with self._changing:
            try:
                await self._records.delete(_KIND, id)
            except BaseException:  # also a caller that left: the key is still in the store
                keys[id] = record
                raise
        for tell in list(self._watching.get(id, {}).values()):
            tell()
        return self._shown(id, record)

    def until(self, id: str) -> float | None:
        """Return the time at which a key expires, None = never; one that is not there has."""
        record = (self._keys or {}).get(id)
        return 0.0 if record is None else record.expires_at

    def on_revoke(self, id: str, tell: Callable[[], None]) -> Callable[[], None]:
        """Have `tell` called when a key is revoked, and return what takes that back."""
        watch = object()
        self._watching.setdefault(id, {})[watch] = tell

        def unwatch() -> None:
            watching = self._watching.get(id)
            if watching is not None:
                watching.pop(watch, None)
                if not watching:
                    del self._watching[id]

        return unwatch

    async def caller(self, secret: str, door: Door) -> Caller | None:
        """Return who the bearer of a key is, or None when it is no key that counts.

        Suspends only for the first key after the start and, once a minute, to write down that a
        key was used.
        """
        keys = self._keys if self._keys is not None else await self._loaded()
        id = secret[len(PREFIX) :].partition("_")[0]
        record = keys.get(id)
        # Compared even when there is none, so that the time tells nothing of which ids there are.
        expected = record.hash if record is not None else _NOBODY
        if not hmac.compare_digest(_hash(secret), expected) or record is None:
            return None
        now = self.clock.time()
        if record.expires_at is not None and now >= record.expires_at:
            return None
        record.last_used_at = now
        if now >= self._written.get(id, 0.0) + _USED_SECONDS:
            self._written[id] = now
            await self._write_use(id)
        scopes = None if record.scopes is None else frozenset(record.scopes)
        return Caller(principal=f"key:{id}", tenant=record.tenant, door=door, scopes=scopes)

    async def any(self) -> bool:
        """Return whether there is a key that counts."""
        return any(not key.has_expired for key in await self.list())

    async def _write_use(self, id: str) -> None:
        async with self._changing:
            record = (await self._loaded()).get(id)
            if record is None:
                return  # revoked meanwhile: writing it would bring it back
            # Not worth a sync: a lost time of use is no loss.
            value = msgspec.to_builtins(record, builtin_types=(bytes,))
            try:
                await self._records.put(_KIND, id, value, durable=False)
            except StateError as error:  # a full disk keeps nobody out
                log.warning("that key %s was used could not be written down: %s", id, error)

    async def _loaded(self) -> dict[str, _Record]:
        if self._keys is None:
            found = await self._records.list(_KIND)
            if self._keys is None:  # whoever was first has them, with what was changed since
                self._keys = {id: msgspec.convert(value, _Record) for id, value in found}
        return self._keys

    def _shown(self, id: str, record: _Record) -> ApiKey:
        return ApiKey(
            id=id,
            label=record.label,
            tenant=record.tenant,
            scopes=None if record.scopes is None else tuple(record.scopes),
            created_at=record.created_at,
            expires_at=record.expires_at,
            last_used_at=record.last_used_at,
            has_expired=record.expires_at is not None and self.clock.time() >= record.expires_at,
        )


def id_of(secret: str) -> str:
    """Return the id of a key; of what is none, a text that is no id."""
    return secret[len(PREFIX) :].partition("_")[0]


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


_NOBODY = _hash("")


def _new_id() -> str:
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))
