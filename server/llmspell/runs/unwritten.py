"""What a journal has noted and not written yet, and how a commit takes it: whole or not at all.

A commit that failed may have been written all the same, see `Store.commit`. So its rows
are written again, with the same numbers, by the next one: there is one row of each
record, and they stand in the order in which the script was given its messages.

Which effect is noted, and when it has to be written, is `journal`'s part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import msgspec

from llmspell.errors import StateConflict, StateQuota, StateTooLarge
from llmspell.runs.journal_records import Mark, Record, encode_record
from llmspell.state.store import Family, Put, Write
from llmspell.values import JSON

_REFUSED = (StateConflict, StateQuota, StateTooLarge)
"""Errors of commits that have certainly not been written."""


@dataclass(slots=True)
class Unwritten:
    """The notes of one run, and how much it wrote before."""

    run_id: str
    number: int
    """Of the last row that a commit took."""
    count: int = 0
    """Results that commits took."""
    marks: list[Mark] = field(default_factory=list[Mark])
    records: list[Record] = field(default_factory=list[Record])
    rows: dict[int, Record] = field(default_factory=dict[int, Record])
    """Rows of commits that failed, by their numbers."""
    bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.records or self.marks or self.rows)


class Slip:
    """A record on its way into a commit that may be refused and tried again.

    `writes` may be called several times: each call takes the place of the one
    before. Left by an exception, the record does not count.

    Args:
        make: Returns the record of a result; None = only what is noted is to be written.
    """

    def __init__(self, unwritten: Unwritten, make: Callable[[JSON], Record] | None) -> None:
        self._unwritten = unwritten
        self._make = make
        self._rows: dict[int, Record] = {}
        self._own = 0
        """Number of the record itself; 0 = it has none yet."""
        self._marks: tuple[Mark, ...] = ()
        """What it bore in the call before."""
        self._bytes = 0

    def writes(self, value: JSON) -> list[Write]:
        """Return the rows of what is noted and of the record itself, its result being `value`."""
        source, rows = self._unwritten, self._rows
        self._take_back()
        own = self._make(value) if self._make is not None else None
        rows.update(source.rows)
        fresh, source.rows, source.records = source.records, {}, []
        noted, source.marks = tuple(source.marks), []
        self._bytes += source.bytes
        source.bytes = 0
        if own is None and not fresh and noted:
            own = Record(key="", kind="order", name="", at=noted[-1].at)
        for record in fresh:
            source.number += 1
            rows[source.number] = msgspec.structs.replace(record, after=noted) if noted else record
            source.count += _is_result(record)
            noted = ()
        if own is not None:
            if not self._own:
                source.number += 1
                self._own = source.number
            rows[self._own] = msgspec.structs.replace(own, after=(*self._marks, *noted))
            source.count += _is_result(own)
        return [
            Put(Family.JOURNAL, (source.run_id, number), encode_record(record))
            for number, record in rows.items()
        ]

    @property
    def is_taken(self) -> bool:
        """Whether its rows were asked for."""
        return bool(self._own)

    def _take_back(self) -> None:
        own = self._rows.pop(self._own, None)
        if own is not None:
            self._marks = own.after
            self._unwritten.count -= _is_result(own)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Put back what was not written for certain."""
        if error is None or isinstance(error, asyncio.CancelledError):
            return
        self._take_back()
        if self._own and (self._marks or not isinstance(error, _REFUSED)):
            # In its place, should it have been written: whoever asked is told that it was not.
            empty = Record(key="", kind="order", name="", at=0.0, after=self._marks)
            self._rows[self._own] = empty
        self._unwritten.rows.update(self._rows)
        self._unwritten.bytes += self._bytes


def _is_result(record: Record) -> bool:
    return not (record.begun or record.kind == "order")
