"""Idempotency keys: the same key of the same caller gives the same run.

A key counts for one tenant, principal, session and spell. It is stored with the
first save of its run, so a cast that did nothing yet is not in the store; those
that are under way in this process are remembered here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from llmspell.errors import IdempotencyConflict, UsageError
from llmspell.runs.record import Run
from llmspell.security.principals import Caller
from llmspell.state.store import Delete, Family, Key, Put, Store, Write
from llmspell.values import JSON, canonical

MAX_KEY_BYTES = 256
"""Longest key a caller may give, in bytes of UTF-8."""


class _Kept(msgspec.Struct, frozen=True):
    run: str
    digest: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Kept).decode


class Keys:
    """Finds the run of a key.

    Args:
        seconds: How long a key is kept after its run began.
    """

    def __init__(self, store: Store, *, seconds: float) -> None:
        self._store = store
        self._seconds = seconds
        self._open: dict[Key, _Kept] = {}

    async def find(self, caller: Caller, spell: str, key: str, digest: bytes) -> str | None:
        """Return the id of the run that was begun with `key`, or None.

        Args:
            digest: Of what is cast now; see `digest_of`.

        Raises:
            IdempotencyConflict: The key was used for something else.
            UsageError: It is no key.
        """
        kept = await self._kept(_path(caller, spell, key))
        if kept is None:
            return None
        if kept.digest != digest:
            raise IdempotencyConflict(
                f"the idempotency key {key!r} was used for another cast of {spell!r}",
                data={"run_id": kept.run},
            )
        return kept.run

    async def run_of(self, caller: Caller, spell: str, key: str) -> str | None:
        """Return the id of the run that was begun with `key`, whatever was cast, or None.

        Raises:
            UsageError: It is no key.
        """
        kept = await self._kept(_path(caller, spell, key))
        return kept.run if kept is not None else None

    async def _kept(self, path: Key) -> _Kept | None:
        kept = self._open.get(path)
        if kept is not None:
            return kept
        entry = await self._store.get(Family.DEDUP, path)
        # A cast under the same key may have begun during that read.
        return self._open.get(path) or (_decode(entry.value) if entry else None)

    def begin(self, caller: Caller, spell: str, key: str, digest: bytes, run_id: str) -> None:
        """Remember the run of a key while it is under way."""
        self._open[_path(caller, spell, key)] = _Kept(run_id, digest)

    def end(self, run: Run) -> None:
        """Forget the key of a run that is over: it is in the store, or did nothing."""
        if run.key:
            path = _run_path(run)
            kept = self._open.get(path)
            if kept is not None and kept.run == run.id:  # another may have begun with it since
                del self._open[path]

    def writes(self, run: Run) -> Sequence[Write]:
        """Return what stores the key of a run, if it has one."""
        if not run.key:
            return ()
        path = _run_path(run)
        kept = self._open.get(path)
        if kept is None:
            return ()  # the run is over, and was never stored with its key
        return (Put(Family.DEDUP, path, _encode(kept), expires_at=run.created_at + self._seconds),)


async def key_writes(store: Store, run: Run) -> Sequence[Write]:
    """Return what deletes the key of a run, unless another run has been begun with it since."""
    if not run.key:
        return ()
    path = _run_path(run)
    entry = await store.get(Family.DEDUP, path)
    if entry is None or _decode(entry.value).run != run.id:
        return ()
    return (Delete(Family.DEDUP, path),)


def _run_path(run: Run) -> Key:
    return (run.tenant, run.principal, run.session, run.spell, run.key)


def joining_key(digest: bytes) -> str:
    """Return the key under which casts of a spell that joins find each other."""
    return f"join:{digest.hex()}"


def digest_of(input: JSON, *, version: str = "") -> bytes:
    """Return what tells one cast of a spell from another.

    Args:
        version: Of the spell, where a cast of another one is not the same.
    """
    return hashlib.sha256(version.encode() + b"\0" + canonical(input)).digest()


def _path(caller: Caller, spell: str, key: str) -> Key:
    if not key or len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES:
        raise UsageError(f"an idempotency key has 1 to {MAX_KEY_BYTES} bytes")
    return (caller.tenant, caller.principal, caller.session, spell, key)
