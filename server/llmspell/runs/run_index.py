"""What the index of runs by principal says of each run, so that lists load only what they show.

An entry stands under `("by", tenant, principal, updated_at in microseconds, run id)`.
Entries that older versions wrote are empty: then the record is asked.
"""

from __future__ import annotations

import msgspec

from llmspell.runs.record import TERMINAL, Run, RunState
from llmspell.state.store import Key


class Indexed(msgspec.Struct, frozen=True, array_like=True):
    """One run as the index knows it."""

    session: str
    state: RunState
    door: str
    parent: str | None
    bytes: int = 0
    """Size of its record, events and journal; 0 = not measured yet."""
    is_plain: bool = False
    """Whether it had no effects; only known once it is measured."""

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self.state in TERMINAL


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Indexed).decode


def index_key(run: Run, updated_at: float) -> Key:
    """Return the key of a run's entry while it was last updated at this time."""
    return ("by", run.tenant, run.principal, int(updated_at * 1_000_000), run.id)


def indexed(run: Run) -> Indexed:
    """Return what the index says of a run."""
    return Indexed(
        session=run.session,
        state=run.state,
        door=run.door,
        parent=run.parent,
    )


def index_value(entry: Indexed) -> bytes:
    """Return an entry as it is stored."""
    return _encode(entry)


def read_index(value: bytes) -> Indexed | None:
    """Return a stored entry; None for one that says nothing."""
    return _decode(value) if value else None
