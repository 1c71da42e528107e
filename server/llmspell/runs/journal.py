"""The journal of one run: what its effects came to, so that a run begun again need not repeat them.

Each leaf effect (a model call, a child, a read or write of state, a question...)
has a key that is the same each time the run is performed, and one record. A run
that is resumed asks for the same effects again: those with a record get what
was recorded (`take`), the others wait until every record has been taken
(`caught_up`) and are then performed. Beside its own result a record tells which
messages the script was given since the record before (`after`), so that a
resumed script is given the same ones in the same order, although it is only
the order of what reaches one script that matters.

On disk: family `journal`, key (run id, number), numbers growing, with gaps
where a commit failed. What a record means is the performer's part.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import msgspec

from llmspell import failpoints
from llmspell.clock import Clock
from llmspell.errors import LimitHistory, RunDiverged
from llmspell.state.store import Durability, Family, Put, Store, Write
from llmspell.values import JSON

PENDING_BYTES = 1 << 20
PENDING_RECORDS = 1000
"""What may be noted before it has to be written: all of it is written in one go."""

RESTORED_AT_ONCE = 250
"""Records of before that are taken before others get a turn of the event loop."""

STALL_SECONDS = 30.0
"""A resumed run that takes no record for so long has gone another way than before."""

_PAGE = 1000
_SIGNS = re.compile("[:/.<]")

_encode = msgspec.msgpack.Encoder().encode


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """A message that a script was given: `@path` for a call, else the key of an answer."""

    key: str
    at: float
    """The time the script was told with it."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one leaf effect came to."""

    key: str
    kind: str
    """The effect's kind; "order" for a record that only carries `after`."""
    name: str
    """What it was done to: a model, a spell, a key of state."""
    at: float
    """Unix time at which it was recorded."""
    ok: bool = True
    value: JSON = None
    """The result, or the error object when not `ok`."""
    begun: bool = False
    """The effect only began: `value` is what it waits for."""
    after: tuple[Mark, ...] = ()
    """Messages the script was given since the record before."""


class Row(msgspec.Struct, frozen=True):
    """A record as it is stored."""

    number: int
    record: Record
    version: int
    """Of the commit that wrote it, which is that of the state it wrote too."""


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
        writes.append(Put(Family.JOURNAL, (run_id, row.number), _encode(record)))
    return writes


@dataclass(slots=True)
class _Unwritten:
    """What a journal will write with its next commit, and how much it wrote."""

    run_id: str
    number: int
    """Of the last row written."""
    count: int = 0
    """Results recorded."""
    marks: list[Mark] = field(default_factory=list[Mark])
    records: list[Record] = field(default_factory=list[Record])
    bytes: int = 0


class Journal:
    """The records of a run that is performed in this process.

    Args:
        limit: Records a run may have.
    """

    def __init__(self, run_id: str, store: Store, clock: Clock, *, limit: int) -> None:
        self.run_id = run_id
        self._store = store
        self._clock = clock
        self._limit = limit
        self._unwritten = _Unwritten(run_id, 0)
        self._left: dict[str, Row] = {}
        self._begun: dict[str, JSON] = {}
        self._order: deque[Mark] = deque()
        self._below: dict[str, list[str]] = {}
        """Keys of records and marks of before, by each path they lie below."""
        self._forgotten: set[str] = set()
        self._times: dict[str, float] = {}
        self._progress = 0
        self._changed: asyncio.Event | None = None
        self.diverged: RunDiverged | None = None
        """Why the run cannot be performed again, once that is known: it is told nothing more."""
        self.on_discard: Callable[[], None] | None = None
        """Called when messages of before were forgotten, so that others may come next."""

    async def restore(self, rows: Sequence[Row]) -> None:
        """Take what was recorded before, when the run is resumed. Comes before anything else."""
        for number, row in enumerate(rows, 1):
            self._read(row)
            self._unwritten.number = row.number
            if number % RESTORED_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _read(self, row: Row) -> None:
        record = row.record
        for mark in record.after:
            self._order.append(mark)
            self._index(mark.key)
        if record.begun:
            self._begun[record.key] = record.value
        elif record.kind != "order":
            self._left[record.key] = row
            self._index(record.key)
            self._unwritten.count += 1

    def _index(self, key: str) -> None:
        # By path, so that forgetting what a thousand steps did does not look at all keys each time.
        place = key.removeprefix("@")
        for sign in _SIGNS.finditer(place):
            self._below.setdefault(place[: sign.start()], []).append(key)

    # -- what was recorded

    @property
    def is_replaying(self) -> bool:
        """Whether records, or messages of before, are left that the run has not reached."""
        return bool(self._left or self._order)

    @property
    def next_mark(self) -> Mark | None:
        """The message a resumed script is to be given next; None = any."""
        return self._order[0] if self._order else None

    def begun(self, key: str) -> JSON:
        """Return what an effect that only began waits for, or None."""
        return self._begun.get(key)

    def take(self, key: str, kind: str, name: str) -> Row | None:
        """Return what was recorded of an effect, or None.

        Raises:
            RunDiverged: Something else was recorded under this key.
        """
        if self.diverged is not None:
            raise self.diverged
        row = self._left.get(key)
        if row is None:
            return None
        record = row.record
        if (record.kind, record.name) != (kind, name):
            raise self._diverged(
                f"the run now asks for {kind} {name!r} where it asked for "
                f"{record.kind} {record.name!r}",
                key,
                {"kind": kind, "name": name},
                record,
                row.number,
            )
        del self._left[key]
        self._times[key] = record.at
        self._moved()
        return row

    def steps(self) -> frozenset[str]:
        """Return the keys of the steps whose end is recorded and not recalled yet."""
        if not self._left:
            return frozenset()
        return frozenset(key for key, row in self._left.items() if row.record.kind == "step")

    def peek(self, key: str) -> Row | None:
        """Return what was recorded of an effect without taking it."""
        return self._left.get(key)

    def discard(self, path: str) -> None:
        """Forget what was recorded under a path: its branch was canceled, or its end is known."""
        if not self.is_replaying:
            return
        for key in self._below.pop(path, ()):
            self._left.pop(key, None)
            self._forgotten.add(key)
        self._skip_forgotten()
        self._moved()
        if self.on_discard is not None:
            self.on_discard()

    def _skip_forgotten(self) -> None:
        while self._order and self._order[0].key in self._forgotten:
            self._order.popleft()

    async def caught_up(self) -> None:
        """Return once every record has been taken: from here on effects are performed.

        Raises:
            RunDiverged: The run does not come to what is left of them.
        """
        while self.is_replaying:
            if self.diverged is not None:
                raise self.diverged
            before = self._progress
            if self._changed is None:
                self._changed = asyncio.Event()
            self._changed.clear()
            try:
                # Real time on purpose: a manual clock must not hide that nothing moves.
                async with asyncio.timeout(STALL_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                if self._progress == before:
                    raise self.left_over() from None

    def left_over(self) -> RunDiverged:
        """Return the error of a run that went past what it had recorded."""
        if self._left:
            row = min(self._left.values(), key=lambda row: row.number)
            record = row.record
            return self._diverged(
                f"the run did not ask again for {record.kind} {record.name!r}",
                record.key,
                None,
                record,
                row.number,
            )
        return self._ends(RunDiverged("the run was not given the messages it was given before"))

    def _diverged(
        self, text: str, key: str, asked: JSON, record: Record, number: int
    ) -> RunDiverged:
        recorded: JSON = {"kind": record.kind, "name": record.name, "at": record.at}
        return self._ends(
            RunDiverged(
                f"{text} (step {number})",
                hint=f"go on from the steps before it: llmspell runs fork {self.run_id} "
                f"--step {number}",
                data={"step": number, "key": key, "recorded": recorded, "asked": asked},
            )
        )

    def _ends(self, error: RunDiverged) -> RunDiverged:
        """Return an error that this run ends with, and let nobody wait for records any more."""
        if self.diverged is None:
            self.diverged = error
            self._moved()
        return self.diverged

    # -- messages of the script

    def now(self) -> float:
        """Return the time for a message that is not marked."""
        return self._clock.time()

    def delivered(self, key: str) -> float:
        """Note that the script is given a message now, and return the time it is told with it."""
        if self._order and self._order[0].key == key:
            mark = self._order.popleft()
            self._skip_forgotten()
            self._times.pop(key, None)
            self._moved()
            return mark.at
        at = self._times.pop(key, None)
        if at is None:
            at = self.now()
        self._unwritten.marks.append(Mark(key, at))
        return at

    # -- recording

    def note(self, key: str, kind: str, name: str, value: JSON, *, ok: bool = True) -> None:
        """Record what can be done again: it is written with the next record, or by `flush`.

        Raises:
            LimitHistory: The run recorded more than it may.
        """
        record = self._made(key, kind, name, value, ok=ok)
        self._unwritten.records.append(record)
        self._unwritten.bytes += len(_encode(record))

    async def begin(self, key: str, kind: str, name: str, value: JSON) -> None:
        """Record that an effect began and what it waits for, written when this returns.

        What begins in the same turn of the event loop is one commit: thousands
        may begin at once.
        """
        record = self._made(key, kind, name, value, ok=True, begun=True)
        self._unwritten.records.append(record)
        await asyncio.sleep(0)
        await self.flush()

    @property
    def is_heavy(self) -> bool:
        """Whether so much is noted that it should be written."""
        unwritten = self._unwritten
        return unwritten.bytes > PENDING_BYTES or len(unwritten.records) >= PENDING_RECORDS

    async def record(
        self,
        key: str,
        kind: str,
        name: str,
        value: JSON,
        *,
        ok: bool = True,
        begun: bool = False,
        durability: Durability = Durability.DURABLE,
        also: Sequence[Write] = (),
    ) -> None:
        """Record a result, with everything noted before; returns once `durability` holds.

        Raises:
            LimitHistory: The run recorded more than it may.
            StateError: It could not be written.
        """
        failpoints.hit("run.before_journal")
        with self.slip(key, kind, name, ok=ok, begun=begun) as slip:
            await self._store.commit([*also, *slip.writes(value)], durability=durability)
        failpoints.hit("run.after_journal")

    async def flush(self, durability: Durability = Durability.WRITTEN) -> None:
        """Write what is noted, so that an act to come cannot be known without it."""
        if not (self._unwritten.records or self._unwritten.marks):
            return
        with Slip(self._unwritten, lambda _: self._made("", "order", "", None, ok=True)) as slip:
            await self._store.commit(slip.writes(None), durability=durability)

    def slip(self, key: str, kind: str, name: str, *, ok: bool = True, begun: bool = False) -> Slip:
        """Return a record to be written in the same commit as what it records."""
        return Slip(
            self._unwritten, lambda value: self._made(key, kind, name, value, ok=ok, begun=begun)
        )

    def _made(
        self, key: str, kind: str, name: str, value: JSON, *, ok: bool, begun: bool = False
    ) -> Record:
        at = self.now()
        if begun:
            self._begun[key] = value
        elif kind != "order":
            if self._unwritten.count + len(self._unwritten.records) >= self._limit:
                raise LimitHistory(
                    f"the run recorded more than {self._limit} effects",
                    data={"limit": "runs.history", "allowed": self._limit},
                )
            self._times[key] = at
        return Record(key=key, kind=kind, name=name, at=at, ok=ok, value=value, begun=begun)

    def _moved(self) -> None:
        self._progress += 1
        if self._changed is not None:
            self._changed.set()


class Slip:
    """A record on its way into a commit that may be refused and tried again.

    `writes` may be called several times: each call takes the place of the one
    before. Left by an exception, nothing counts as recorded.
    """

    def __init__(self, unwritten: _Unwritten, make: Callable[[JSON], Record]) -> None:
        self._unwritten = unwritten
        self._make = make
        self._taken = _Unwritten(unwritten.run_id, 0)
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
            rows.append(Put(Family.JOURNAL, (source.run_id, source.number), _encode(record)))
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
        self._taken = _Unwritten(source.run_id, 0)

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
