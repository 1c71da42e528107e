"""Idempotency keys: the same key of the same caller gives the same run.

A key counts for one tenant, principal, session and spell. It is stored with the
first save of its run, so a cast that did nothing yet is not in the store; those
that are under way in this process are remembered here. A run that several casts
share has the key of each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

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
        self._of_run: dict[str, list[Key]] = {}
        """The places of the keys of each run that is under way."""

    async def find(
        self, caller: Caller, spell: str, digests: Mapping[str, bytes]
    ) -> dict[str, str]:
        """Return the ids of the runs that were begun with keys, by the keys, in their order.

        What is found is what is remembered or stored when this returns.

        Args:
            digests: Of what is cast now, by key; see `digest_of`.

        Raises:
            IdempotencyConflict: A key was used for something else.
            UsageError: One is no key.
        """
        paths = {key: _path(caller, spell, key) for key in digests}
        stored = {key: await self._kept(path) for key, path in paths.items()}
        runs: dict[str, str] = {}
        for key, path in paths.items():
            kept = self._open.get(path) or stored[key]  # it may have begun during a read
            if kept is None:
                continue
            if kept.digest != digests[key]:
                raise IdempotencyConflict(
                    f"the idempotency key {key!r} was used for another cast of {spell!r}",
                    data={"run_id": kept.run},
                )
            runs[key] = kept.run
        return runs

    async def run_of(self, caller: Caller, spell: str, key: str) -> str | None:
        """Return the id of the run that was begun with `key`, whatever was cast, or None.

        Raises:
            UsageError: It is no key.
        """
        path = _path(caller, spell, key)
        stored = await self._kept(path)
        kept = self._open.get(path) or stored
        return kept.run if kept is not None else None

    async def _kept(self, path: Key) -> _Kept | None:
        kept = self._open.get(path)
        if kept is not None:
            return kept
        entry = await self._store.get(Family.DEDUP, path)
        return _decode(entry.value) if entry else None

    def begin(self, caller: Caller, spell: str, key: str, digest: bytes, run_id: str) -> None:
        """Remember a key of a run while that is under way; it may have others."""
        path = _path(caller, spell, key)
        self._open[path] = _Kept(run_id, digest)
        self._of_run.setdefault(run_id, []).append(path)

    def end(self, run: Run) -> None:
        """Forget the keys of a run that is over: they are in the store, or it did nothing."""
        for path in self._of_run.pop(run.id, ()):
            if self._open[path].run == run.id:  # another may have begun with it since
                del self._open[path]

    def writes(self, run: Run) -> Sequence[Write]:
        """Return what stores the keys of a run that is under way."""
        expires_at = run.created_at + self._seconds
        return [
            Put(Family.DEDUP, path, _encode(kept), expires_at=expires_at)
            for path in self._of_run.get(run.id, ())
            if (kept := self._open[path]).run == run.id
        ]


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
