"""What a journal has noted and not written yet, and how a commit takes it: whole or not at all.

Which effect is noted, and when it has to be written, is `journal`'s part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import msgspec

from llmspell.runs.journal_records import Mark, Record, encode_record
from llmspell.state.store import Family, Put, Write
from llmspell.values import JSON


@dataclass(slots=True)
class Unwritten:
    """The notes of one run, and how much it wrote before."""

    run_id: str
    number: int
    """Of the last row written."""
    count: int = 0
    """Results recorded."""
    marks: list[Mark] = field(default_factory=list[Mark])
    records: list[Record] = field(default_factory=list[Record])
    bytes: int = 0


class Slip:
    """A record on its way into a commit that may be refused and tried again.

    `writes` may be called several times: each call takes the place of the one
    before. Left by an exception, nothing counts as recorded.
    """

    def __init__(self, unwritten: Unwritten, make: Callable[[JSON], Record]) -> None:
        self._unwritten = unwritten
        self._make = make
        self._taken = Unwritten(unwritten.run_id, 0)
        self._is_taken = False

    def writes(self, value: JSON) -> list[Write]:
        """Return the rows of what is noted and of the record itself, its result being `value`."""
        self._put_back()
        self._is_taken = True
        source, taken = self._unwritten, self._taken
        records = [*source.records, self._make(value)]
        taken.records, source.records = source.records, []
        taken.marks, source.marks = source.marks, []
        taken.bytes, source.bytes = source.bytes, 0
        records[0] = msgspec.structs.replace(records[0], after=tuple(taken.marks))
        rows: list[Write] = []
        for record in records:
            source.number += 1
            rows.append(Put(Family.JOURNAL, (source.run_id, source.number), encode_record(record)))
            taken.count += not (record.begun or record.kind == "order")
        source.count += taken.count
        return rows

    @property
    def is_taken(self) -> bool:
        """Whether its rows were asked for."""
        return self._is_taken

    def _put_back(self) -> None:
        source, taken = self._unwritten, self._taken
        source.records[:0] = taken.records
        source.marks[:0] = taken.marks
        source.bytes += taken.bytes
        source.count -= taken.count
        self._taken = Unwritten(source.run_id, 0)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Put back what was not written."""
        if error is not None and not isinstance(error, asyncio.CancelledError):
            self._put_back()
