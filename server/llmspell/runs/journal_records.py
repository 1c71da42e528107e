"""What a journal keeps: one record for each leaf effect, in the order they were written.

A leaf effect (a model call, a child, a read or write of state, a question...) has a key that
is the same each time the run is performed. Beside its own result a record tells which
messages the script was given since the record before (`after`), so that a resumed script is
given the same ones in the same order, although it is only the order of what reaches one
script that matters.

On disk: family `journal`, key (run id, number), numbers growing, with gaps where a commit
was refused. How a run uses its records is `journal`'s part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from llmspell.effects.messages import Usage
from llmspell.state.store import Family, Put, Store, Write
from llmspell.values import JSON

UNRECORDED = "unrecorded"
"""Kind of a record that stands for one of any kind which could not be written: whoever asked for
the effect was told so."""

_PAGE = 1000


class Spent(msgspec.Struct):
    """What a run has spent, itself and below."""

    usage: Usage = Usage()
    children: int = 0
    tool_calls: int = 0

    def add(self, usage: Usage, children: int, tool_calls: int) -> None:
        """Add what was spent on a part of it."""
        self.usage = self.usage + usage
        self.children += children
        self.tool_calls += tool_calls


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """A message that a script was given: `@path` for a call, else the key of an answer."""

    key: str
    at: float
    """The time the script was told with it."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one leaf effect came to."""

    key: str
    kind: str
    """The effect's kind; "order" for a record that only carries `after`, `UNRECORDED`."""
    name: str
    """What it was done to: a model, a spell, a key of state."""
    at: float
    """Unix time at which it was recorded."""
    ok: bool = True
    value: JSON = None
    """The result, or the error object when not `ok`."""
    begun: bool = False
    """The effect only began: `value` is what it waits for."""
    usage: Usage | None = None
    """What was spent on it; None where that is nothing, or was not recorded yet."""
    children: int = 0
    """Casts that a child began, there and below."""
    tool_calls: int = 0
    """Tool calls that agents made there and below."""
    after: tuple[Mark, ...] = ()
    """Messages the script was given since the record before."""

    def with_spent(self, spent: Spent) -> Record:
        """Return the record of an effect that this was spent on."""
        return msgspec.structs.replace(
            self, usage=spent.usage, children=spent.children, tool_calls=spent.tool_calls
        )


class Row(msgspec.Struct, frozen=True):
    """A record as it is stored."""

    number: int
    record: Record
    version: int
    """Of the commit that wrote it, which is that of the state it wrote too."""


encode_record = msgspec.msgpack.Encoder().encode
"""Returns a record as it is stored."""

_decode = msgspec.msgpack.Decoder(Record).decode


async def read_journal(store: Store, run_id: str) -> list[Row]:
    """Return every record of a run, in the order they were written.

    Raises:
        StateCorrupt: The stored bytes are damaged.
    """
    rows: list[Row] = []
    after = 0
    while True:
        page = await store.scan(
            Family.JOURNAL, (run_id,), after=(run_id, after) if after else None, limit=_PAGE
        )
        rows += [Row(int(key[1]), _decode(entry.value), entry.version) for key, entry in page]
        if len(page) < _PAGE:
            return rows
        after = rows[-1].number
        await asyncio.sleep(0)  # a page that is at hand takes no turn of the event loop


async def read_spent(store: Store, run_id: str) -> Spent:
    """Return what is recorded of a run that is not performed now; children at work do not count.

    Raises:
        StateCorrupt: The stored bytes are damaged.
    """
    spent = Spent()
    for row in await read_journal(store, run_id):
        record = row.record
        if record.usage is not None:
            spent.add(record.usage, record.children + (record.kind == "cast"), record.tool_calls)
    return spent


async def last_number(store: Store, run_id: str) -> int:
    """Return the number of a run's last record, or 0."""
    page = await store.scan(Family.JOURNAL, (run_id,), limit=1, reverse=True)
    return int(page[0][0][1]) if page else 0


def copied(rows: Sequence[Row], run_id: str) -> list[Write]:
    """Return the writes that give another run the same records.

    A question that has no answer among them is asked anew: it names the run that asked it.
    """
    ended = {row.record.key for row in rows if not row.record.begun}
    writes: list[Write] = []
    for row in rows:
        record = row.record
        if record.begun and record.kind == "ask" and record.key not in ended:
            record = Record(key="", kind="order", name="", at=record.at, after=record.after)
        writes.append(Put(Family.JOURNAL, (run_id, row.number), encode_record(record)))
    return writes
