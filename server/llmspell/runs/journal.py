"""The journal of one run: what its effects came to, so that a run begun again need not repeat them.

A run that is resumed asks for the same effects again: those with a record get what
was recorded (`take`), the others wait until every record has been taken
(`caught_up`) and are then performed. What a record is and how it is stored, see
`journal_records`; what it means is the performer's part.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Sequence

from llmspell import failpoints
from llmspell.clock import Clock
from llmspell.errors import LimitHistory, RunDiverged, StateError
from llmspell.runs.journal_records import UNRECORDED, Mark, Record, Row, Spent, encode_record
from llmspell.runs.unwritten import Slip, Unwritten
from llmspell.state.store import Durability, Store
from llmspell.values import JSON

PENDING_BYTES = 1 << 20
PENDING_RECORDS = 1000
"""What may be noted before it has to be written: all of it is written in one go."""

RESTORED_AT_ONCE = 250
"""Records of before that are taken before others get a turn of the event loop."""

STALL_SECONDS = 30.0
"""A resumed run that takes no record for so long has gone another way than before."""

_SIGNS = re.compile("[:/.<]")


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
        self._unwritten = Unwritten(run_id, 0)
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
        self.on_lost: Callable[[Record], None] | None = None
        """Called with each record of before that is forgotten without being taken."""

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
        if record.kind != UNRECORDED and (record.kind, record.name) != (kind, name):
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
        return frozenset(
            key for key, row in self._left.items() if row.record.kind in ("step", UNRECORDED)
        )

    def peek(self, key: str) -> Row | None:
        """Return what was recorded of an effect without taking it."""
        return self._left.get(key)

    def discard(self, path: str) -> None:
        """Forget what was recorded under a path: its branch was canceled, or its end is known."""
        if not self.is_replaying:
            return
        for key in (*self._below.pop(path, ()), "@" + path):  # and the call that is made there
            row = self._left.pop(key, None)
            if row is not None and self.on_lost is not None:
                self.on_lost(row.record)
            self._forgotten.add(key)
        self._skip_forgotten()
        self._moved()
        if self.on_discard is not None:
            self.on_discard()

    def drop(self) -> None:
        """Forget all that was recorded and not taken: the run ends before it came to that."""
        left, self._left = self._left, {}
        self._order.clear()
        if self.on_lost is not None:
            for row in left.values():
                self.on_lost(row.record)

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

    def note(
        self,
        key: str,
        kind: str,
        name: str,
        value: JSON,
        *,
        ok: bool = True,
        spent: Spent | None = None,
    ) -> None:
        """Record what can be done again: it is written with the next record, or by `flush`.

        Raises:
            LimitHistory: The run recorded more than it may.
        """
        record = self._made(key, kind, name, value, ok=ok, spent=spent)
        self._unwritten.records.append(record)
        self._unwritten.bytes += len(encode_record(record))

    def note_unrecorded(self, key: str, error: StateError) -> None:
        """Note that an effect failed because it could not be recorded, unless it has a record.

        Whoever asked for it may go on, and is to be told the same when the run is resumed.
        """
        if key not in self._times:
            self.note(key, UNRECORDED, error.code, error.to_value(), ok=False)

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
        noted = len(unwritten.records) + len(unwritten.rows)
        return unwritten.bytes > PENDING_BYTES or noted >= PENDING_RECORDS

    async def record(
        self,
        key: str,
        kind: str,
        name: str,
        value: JSON,
        *,
        ok: bool = True,
        begun: bool = False,
        spent: Spent | None = None,
        durability: Durability = Durability.DURABLE,
    ) -> None:
        """Record a result, with everything noted before; returns once `durability` holds.

        Raises:
            LimitHistory: The run recorded more than it may.
            StateError: It could not be written.
        """
        failpoints.hit("run.before_journal")
        try:
            with Slip(
                self._unwritten,
                lambda value: self._made(key, kind, name, value, ok=ok, begun=begun, spent=spent),
            ) as slip:
                await self._store.commit(slip.writes(value), durability=durability)
        except StateError:
            self._times.pop(key, None)  # it has no record
            raise
        failpoints.hit("run.after_journal")

    async def flush(self, durability: Durability = Durability.WRITTEN) -> None:
        """Write what is noted, so that an act to come cannot be known without it."""
        if not self._unwritten:
            return
        with Slip(self._unwritten, None) as slip:
            await self._store.commit(slip.writes(None), durability=durability)

    def slip(self, key: str, kind: str, name: str) -> Slip:
        """Return a record to be written in the same commit as what it records."""
        return Slip(self._unwritten, lambda value: self._made(key, kind, name, value, ok=True))

    def _made(
        self,
        key: str,
        kind: str,
        name: str,
        value: JSON,
        *,
        ok: bool,
        begun: bool = False,
        spent: Spent | None = None,
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
        record = Record(key=key, kind=kind, name=name, at=at, ok=ok, value=value, begun=begun)
        return record if spent is None else record.with_spent(spent)

    def _moved(self) -> None:
        self._progress += 1
        if self._changed is not None:
            self._changed.set()
