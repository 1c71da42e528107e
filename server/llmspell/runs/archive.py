"""Runs in the store: records, their index by time, and their events.

Keys of family RUN: ("run", tenant, id) holds the record; ("by", tenant,
principal, microseconds, id) orders a principal's runs by their last change of
state; ("live", id) names the tenant of a run that has not ended, so that the
next owner finds what a dead one left. Family EVENT: (id, number) holds the event
of that number, or a list of those from that number on that were saved together.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

from llmspell.errors import RunNotFound
from llmspell.runs.record import Event, Run, RunState
from llmspell.runs.run_index import Indexed, index_key, index_value, indexed, read_index
from llmspell.security.principals import Caller
from llmspell.state.store import Delete, Durability, Family, Key, Put, Store, Write

_PAGE = 500

_encode = msgspec.msgpack.Encoder().encode
_decode_run = msgspec.msgpack.Decoder(Run).decode
_decode_event = msgspec.msgpack.Decoder(Event).decode
_decode_events = msgspec.msgpack.Decoder(list[Event]).decode
_LIST = struct.Struct(">BH")
"""The head of a list in MessagePack: array 16."""
_IS_LIST = 0xDC
_ROW_BYTES = 32 << 10
"""Size of the events in one row, unless one alone is larger. None packs into less than a byte, so
their number fits the head."""


def _record_key(run: Run) -> Key:
    return ("run", run.tenant, run.id)


class Archive:
    """Reads and writes runs. Knows nothing of what a run does."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def store(self) -> Store:
        """The store the runs are in."""
        return self._store

    async def save(
        self,
        run: Run,
        events: Sequence[Event],
        *,
        is_known: bool = False,
        listed_at: Sequence[float] = (),
        over: Sequence[int] = (),
        durability: Durability = Durability.WRITTEN,
        also: Sequence[Write] = (),
    ) -> None:
        """Write a record with new events of it, and `also`, all or none; see `writes`."""
        writes = self.writes(run, events, is_known=is_known, listed_at=listed_at, over=over)
        await self._store.commit([*writes, *also], durability=durability)

    def writes(
        self,
        run: Run,
        events: Sequence[Event],
        *,
        is_known: bool,
        listed_at: Sequence[float],
        over: Sequence[int],
    ) -> list[Write]:
        """Return what `save` writes, for a commit of several runs.

        Args:
            is_known: Whether the store has the run for certain.
            listed_at: Each `updated_at` under which it may list the run.
            over: Numbers at which it may have rows of events that no save was known to write.
        """
        writes: list[Write] = [Put(Family.RUN, _record_key(run), _encode(run))]
        for at in listed_at:
            if at != run.updated_at:
                writes.append(Delete(Family.RUN, index_key(run, at)))
        # Also when the time is the same: the entry tells the state, which may be another.
        key = index_key(run, run.updated_at)
        writes.append(Put(Family.RUN, key, index_value(indexed(run))))
        if run.is_final:
            if listed_at:
                writes.append(Delete(Family.RUN, ("live", run.id)))
        elif not is_known or len(listed_at) > 1:  # what nobody saw the end of may have been an end
            writes.append(Put(Family.RUN, ("live", run.id), run.tenant.encode()))
        writes += [Delete(Family.EVENT, (run.id, number)) for number in over]
        writes += _event_rows(run.id, events)
        return writes

    async def load(self, tenant: str, run_id: str) -> Run:
        """Return a record.

        Raises:
            RunNotFound: The tenant has no such run.
        """
        entry = await self._store.get(Family.RUN, ("run", tenant, run_id))
        if entry is None:
            raise RunNotFound(f"no run {run_id!r}")
        return _decode_run(entry.value)

    async def find(self, tenant: str, run_id: str) -> Run | None:
        """Return a record, or None when the tenant has no such run."""
        entry = await self._store.get(Family.RUN, ("run", tenant, run_id))
        return None if entry is None else _decode_run(entry.value)

    async def events(self, run_id: str, after: int = 0) -> list[Event]:
        """Return every stored event of a run numbered above `after`."""
        found: list[Event] = []
        position: Key | None = None
        if after:
            # The row that holds the event `after` may hold the next ones too.
            first = await self._store.scan(
                Family.EVENT, (run_id,), before=(run_id, after + 1), limit=1, reverse=True
            )
            for key, entry in first:
                position = key
                found += [each for each in _read_row(entry.value) if each.number > after]
        while True:
            page = await self._store.scan(Family.EVENT, (run_id,), after=position, limit=_PAGE)
            for _, entry in page:
                found += _read_row(entry.value)
            if len(page) < _PAGE:
                return found
            position = page[-1][0]

    async def live(self) -> list[Run]:
        """Return every run that has not ended, of all tenants."""
        found: list[Run] = []
        after: Key | None = None
        while True:
            page = await self._store.scan(Family.RUN, ("live",), after=after, limit=_PAGE)
            for key, entry in page:
                found.append(await self.load(entry.value.decode(), str(key[1])))
            if len(page) < _PAGE:
                return found
            after = page[-1][0]

    async def list(
        self,
        caller: Caller,
        *,
        session: str | None = None,
        state: RunState | None = None,
        door: str | None = None,
        updated_after: float | None = None,
        limit: int,
        after: str | None = None,
    ) -> tuple[list[Run], str | None, int]:
        """Return a page of the caller's runs, last changed first, the next cursor, and the total.

        Raises:
            ValueError: `after` is no cursor, or `limit` is not positive.
        """
        if limit < 1:
            raise ValueError(f"a page of {limit} runs cannot be had")
        prefix: Key = ("by", caller.tenant, caller.principal)
        cursor = _parse_cursor(after)
        found: list[Run] = []
        total = 0
        more: str | None = None
        before: Key | None = None
        while True:
            page = await self._store.scan(
                Family.RUN, prefix, before=before, limit=_PAGE, reverse=True
            )
            for key, stored in page:
                position = (int(key[3]), str(key[4]))
                if updated_after is not None and position[0] <= int(updated_after * 1_000_000):
                    return found, more, total
                entry = read_index(stored.value)
                if entry is None:  # written by an older version
                    entry = indexed(await self.load(caller.tenant, position[1]))
                if not _matches(entry, session, state, door):
                    continue
                total += 1
                if cursor is not None and position >= cursor:
                    continue
                if len(found) < limit:
                    found.append(await self.load(caller.tenant, position[1]))
                elif more is None:
                    last = found[-1]
                    more = f"{int(last.updated_at * 1_000_000)}-{last.id}"
            if len(page) < _PAGE:
                return found, more, total
            before = page[-1][0]


def _event_rows(run_id: str, events: Sequence[Event]) -> list[Write]:
    rows: list[Write] = []
    packed: list[bytes] = []
    first = size = 0
    for event in events:
        encoded = _encode(event)
        if packed and size + len(encoded) > _ROW_BYTES:
            rows.append(_event_row(run_id, first, packed))
            packed = []
        if not packed:
            first, size = event.number, 0
        packed.append(encoded)
        size += len(encoded)
    if packed:
        rows.append(_event_row(run_id, first, packed))
    return rows


def _event_row(run_id: str, first: int, packed: list[bytes]) -> Write:
    """Return the row of packed events, the first of which has this number."""
    value = packed[0] if len(packed) == 1 else _LIST.pack(_IS_LIST, len(packed)) + b"".join(packed)
    return Put(Family.EVENT, (run_id, first), value)


def _read_row(value: bytes) -> list[Event]:
    return _decode_events(value) if value[0] == _IS_LIST else [_decode_event(value)]


def _matches(run: Indexed, session: str | None, state: RunState | None, door: str | None) -> bool:
    return (
        (session is None or run.session == session)
        and (state is None or run.state == state)
        and (door is None or run.door == door)
    )


def _parse_cursor(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    time, _, run_id = text.partition("-")
    if not (time.isdigit() and run_id):
        raise ValueError(f"{text!r} is no cursor of this list")
    return int(time), run_id
