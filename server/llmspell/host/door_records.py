"""What doors keep for themselves across restarts: sessions, API keys, sealing keys.

Small objects by kind and id, over the store that an edge may not touch itself.
"""

from __future__ import annotations

import msgspec

from llmspell.clock import Clock
from llmspell.state.store import Delete, Durability, Family, Put, Store
from llmspell.values import Object

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class DoorRecords:
    """The records of all doors. A kind is one door's word, `mcp.session` for one."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def get(self, kind: str, id: str) -> Object | None:
        """Return a record, or None when there is none or it has expired."""
        entry = await self._store.get(Family.DOOR, (kind, id))
        return _decode(entry.value) if entry is not None else None

    async def put(
        self,
        kind: str,
        id: str,
        value: Object,
        *,
        seconds: float | None = None,
        durable: bool = True,
    ) -> None:
        """Keep a record.

        Args:
            seconds: How long it is kept; None = until it is deleted.
            durable: Whether it must survive the loss of power when this returns; without, it
                survives the death of the process.
        """
        expires_at = None if seconds is None else self._clock.time() + seconds
        await self._store.commit(
            [Put(Family.DOOR, (kind, id), _encode(value), expires_at=expires_at)],
            durability=Durability.DURABLE if durable else Durability.WRITTEN,
        )

    async def delete(self, kind: str, id: str) -> bool:
        """Delete a record, durable when this returns, and return whether it was there."""
        found = await self._store.get(Family.DOOR, (kind, id)) is not None
        if found:
            await self._store.commit(
                [Delete(Family.DOOR, (kind, id))], durability=Durability.DURABLE
            )
        return found

    async def list(self, kind: str, *, limit: int = 10_000) -> list[tuple[str, Object]]:
        """Return the records of a kind with their ids, in the order of the ids."""
        rows = await self._store.scan(Family.DOOR, (kind,), limit=limit)
        return [(str(key[1]), _decode(entry.value)) for key, entry in rows]
