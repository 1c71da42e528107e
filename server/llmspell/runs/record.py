"""The run record: one per cast, the source of every view of it."""

from __future__ import annotations

import hashlib
import os
from typing import Literal, TypeAlias

import msgspec

from llmspell.effects.messages import Usage
from llmspell.security.principals import Door
from llmspell.values import JSON, Object

RunState: TypeAlias = Literal[
    "submitted",
    "working",
    "input_required",
    "auth_required",
    "completed",
    "failed",
    "canceled",
    "rejected",
]
"""A run's state, in A2A's words."""

TERMINAL: frozenset[RunState] = frozenset({"completed", "failed", "canceled", "rejected"})

TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    "submitted": frozenset({"working", "input_required", "failed", "canceled", "rejected"}),
    "working": frozenset(
        {"input_required", "auth_required", "completed", "failed", "canceled", "rejected"}
    ),
    "input_required": frozenset({"working", "failed", "canceled", "rejected"}),
    "auth_required": frozenset({"working", "failed", "canceled", "rejected"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "canceled": frozenset(),
    "rejected": frozenset(),
}
"""The legal transitions; nothing else may change a run's state."""


class Question(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something a run asks a person."""

    id: str
    """Names it among the questions of a run; also the hash of what was shown."""
    run_id: str
    """The run that asks: the run itself, or one below it."""
    key: str
    """Where in that run it is asked."""
    message: str
    schema: Object
    """JSON Schema of the answer, an object."""
    asked_at: float
    expires_at: float
    name: str = ""
    """What its author calls it; "" = nothing."""
    url: str = ""
    """Page where it is answered out of band; "" = a form of `schema`."""
    request: Object | None = None
    """A request `{method, params}` to the caller's own client that stands in for a question."""


class Run(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One cast: who asked for what, how far it is, what came of it."""

    id: str
    tenant: str
    principal: str
    session: str
    spell: str
    """Name of the spell; "" while a message waits for the choice of one."""
    spell_version: str = ""
    parent: str | None = None
    door: Door = "cli"
    state: RunState = "submitted"
    input: JSON = None
    output: JSON = None
    content: list[Object] | None = None
    """The answer as typed parts, where the spell returned `Content.*`."""
    error: Object | None = None
    usage: Usage = Usage()
    """What was spent: known at its end, as the next two."""
    children: int = 0
    """Casts it began, here and below."""
    tool_calls: int = 0
    """Tool calls that agents made, here and below."""
    created_at: float = 0.0
    """Unix time, as all times of a run."""
    updated_at: float = 0.0
    generation: int = 0
    """Number of the run's last event."""
    message: Object | None = None
    """What the door brought beyond the input."""
    key: str = ""
    """Idempotency key of the caller; "" = none."""
    source: bool = False
    """Whether an unpublished source text is cast: its top level is the run."""
    seconds: float | None = None
    """Time the cast may take while it does not wait for a person, a sleep or a restart."""
    worked: float = 0.0
    """Seconds of it that were used before the run was last parked or interrupted."""
    questions: list[Question] = []
    """What the run and its children wait for a person to answer, the oldest first."""
    answers: dict[str, Object] = {}
    """Answers that came, by the key of the question: `{action, value, by}`."""
    wake_at: float | None = None
    """When a parked run goes on by itself; None = only by an answer."""
    parked: bool = False
    """Whether it holds no process: it goes on by an answer or at `wake_at`."""
    epoch: int = 0
    """How often it was continued as new."""
    seed: str = ""
    """Seed of its random numbers where that is not its id: a fork has its origin's."""
    forked_from: str | None = None
    """The run whose journal this one began with."""
    resumed: int = 0
    """How often it was resumed after its process had died, without a step between."""
    resumed_at: int = 0
    """Number of its last record when it was first resumed there."""

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self.state in TERMINAL


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of a run's log."""

    number: int
    """From 1, without gaps."""
    at: float
    kind: str
    """One of `runs.log.KINDS`."""
    data: Object
    key: str = ""
    """The effect that made it, where a run that is performed again would make it again."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run that has ended, or of one that waits for an answer."""

    run_id: str
    spell: str
    state: RunState
    output: JSON = None
    content: list[Object] | None = None
    error: Object | None = None
    usage: Usage = Usage()
    questions: list[Question] = []
    """What it waits for a person to answer."""

    @property
    def ok(self) -> bool:
        """Whether the spell completed."""
        return self.state == "completed"


def outcome_of(run: Run) -> Outcome:
    """Return the outcome a record stands for."""
    return Outcome(
        run_id=run.id,
        spell=run.spell,
        state=run.state,
        output=run.output,
        content=run.content,
        error=run.error,
        usage=run.usage,
        questions=run.questions,
    )


def is_run_id(text: str) -> bool:
    """Return whether a text has the form of an id that `new_run_id` makes."""
    return len(text) == 36 and text.isascii() and text.isalnum()


def child_id(parent: str, key: str) -> str:
    """Return the id of the child that a run begins at `key`: the same whenever it is asked.

    As hard to guess as the parent's; it sorts beside it.
    """
    return parent[:12] + hashlib.sha256(f"{parent} {key}".encode()).hexdigest()[:24]


def new_run_id(now: float) -> str:
    """Return an id that sorts by time and cannot be guessed: 12 hex of ms, 24 hex of chance."""
    return f"{int(now * 1000):012x}{_chance(12).hex()}"


class _Chance:
    """Random bytes of the system, asked for in larger pieces: each asking is a system call."""

    def __init__(self) -> None:
        self._bytes = b""
        os.register_at_fork(after_in_child=self._forget)  # two processes must not share any

    def __call__(self, size: int) -> bytes:
        """Return `size` bytes that nobody had before."""
        if len(self._bytes) < size:
            self._bytes = os.urandom(256 * size)
        found, self._bytes = self._bytes[-size:], self._bytes[:-size]
        return found

    def _forget(self) -> None:
        self._bytes = b""


_chance = _Chance()
