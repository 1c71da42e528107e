"""The effects: what a running spell, agent loop or workflow may ask of the host.

An effect is data. A driver (below) yields one and is sent its result, or has
an `LlmspellError` thrown in. Only `runs.performing` turns an effect into an
act, so permission, deadlines, cancelling, events and records live there once.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from llmspell.effects.messages import ModelRequest
from llmspell.values import JSON, FunctionRef, Object


@dataclass(frozen=True, slots=True, kw_only=True)
class CallModel:
    """Ask a model. Result: `ModelReply`. Its text streams into the run's log as it comes."""

    request: ModelRequest
    source: str = ""
    """Name of the agent that asks, for the log."""
    stream: bool = False
    """Whether the text is part of the run's answer and is emitted as such."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Cast something: a spell, agent, tool or workflow. Result: its output, a JSON value."""

    target: str | Object
    """A published name, or an inline declaration (see `spec.reading`)."""
    input: JSON
    label: str = ""
    """Name of the step or tool call this is, for the log."""
    tool_call: bool = False
    """Whether a model called it, so that it counts as a tool call in budgets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Describe:
    """Look up what may be offered to a model. Result: a list of `ToolOffer`, in this order."""

    targets: tuple[str | Object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFunction:
    """Call a function of the running script. Result: the JSON value it returns."""

    function: FunctionRef
    arguments: tuple[JSON, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    """Run drivers side by side. Result: a list of `Settled`, in the order of `drivers`."""

    drivers: tuple[Driver, ...]
    limit: int | None = None
    """How many at once; None = all."""
    cancel_on_failure: bool = True
    """Whether the first failure cancels the others and is raised itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """How one driver of a `Parallel` ended."""

    ok: bool
    value: Any = None
    error: Object | None = None


StateScope: TypeAlias = Literal["spell", "session", "user", "shared", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadState:
    """Read a key. Result: `[value, version]`, or `[null, null]` when it is absent."""

    scope: StateScope
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteState:
    """Write a key. Result: its new version."""

    scope: StateScope
    key: str
    value: JSON
    if_version: str | None = None
    """Write only while the key has this version ("" = is absent), else `state.conflict`."""
    ttl_seconds: float | None = None
    """Seconds after which the key is absent again; None = it stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteState:
    """Delete a key. Result: whether it was there."""

    scope: StateScope
    key: str
    if_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementState:
    """Add to a number, absent counting as 0. Result: the new number."""

    scope: StateScope
    key: str
    by: int | float = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanState:
    """Read the keys under a prefix, in order.

    Result: `{items = [{key, value, version}], next = key or null}`.
    """

    scope: StateScope
    prefix: str = ""
    after: str | None = None
    limit: int = 100
    reverse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchState:
    """Wait for changes under a prefix.

    Result: `{changes = [{key, value, version, deleted}], next = version, resync = bool}`: at
    least one change, the newest of each key. With `resync` some were missed: read again.
    """

    scope: StateScope
    prefix: str = ""
    since: str | None = None
    """The `next` of an earlier result; None = from now on."""
    timeout_seconds: float | None = None
    """An empty `changes` comes back after so long; None = wait as long as the run may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginTransaction:
    """Begin a transaction over state, or find the recorded end of one.

    Result: `{transaction = id}`; or, when the run did this transaction before it was interrupted,
    `{recorded = true, value = value}`, or `{recorded = true, error = error}` if it was abandoned.
    """

    attempts: int = 20
    """Commits that may find something changed before the conflict is raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadInTransaction:
    """Read a key as it was when the transaction began. Result: as `ReadState`. Not recorded."""

    transaction: int
    scope: StateScope
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanInTransaction:
    """Read the keys under a prefix as they were then. Result: as `ScanState`. Not recorded."""

    transaction: int
    scope: StateScope
    prefix: str = ""
    after: str | None = None
    limit: int = 100
    reverse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StateWrite:
    """One write of a transaction."""

    scope: StateScope
    key: str
    value: JSON = None
    is_delete: bool = False
    ttl_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitTransaction:
    """End a transaction: all its writes or none.

    Result: true when it holds; false when something it read has changed, and it begins anew
    under the same id. After the last attempt: `state.conflict`.
    """

    transaction: int
    writes: tuple[StateWrite, ...] = ()
    value: JSON = None
    """What the transaction's function returned, for a repeated run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AbandonTransaction:
    """End a transaction without writing: its function failed. Result: null."""

    transaction: int
    error: JSON = None
    """What the function raised, for a repeated run: it must fail alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginStep:
    """Begin a named step. Result: `{recorded = true, value = value}` when it has ended before,
    else `{recorded = false}`: then its function runs, and `EndStep` follows under the same key."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndStep:
    """Record the value of a step. Result: null."""

    name: str
    value: JSON = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Ask a person, through whichever door. Result: the answer, which fits `schema`.

    `ask.declined` when the person declines, `ask.expired` when nobody answers in time.
    """

    message: str
    schema: Object | None = None
    """JSON Schema of the answer, an object; None = a yes or no, `{"ok": boolean}`."""
    expires_seconds: float | None = None
    """None = the setting `runs.ask_seconds`."""
    name: str = ""
    """What the author calls the question; doors that name questions use it. "" = none."""
    url: str = ""
    """Page where the person answers out of band; the result is then whatever comes back, `{}` as
    a rule. "" = a form of `schema`."""
    request: Object | None = None
    """Instead of a question: a request `{method, params}` to the caller's own client, made where
    the door has such. The result is the client's answer as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinueAsNew:
    """Begin the run anew with another input and an empty journal. Does not return."""

    input: JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep:
    """Wait. Result: null. A long one holds no process and survives a restart."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Append an event to the run's log. Result: null. `kind` is one of `runs.log.KINDS`."""

    kind: str
    data: Object = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAgent:
    """Let an agent answer. Result: `{text, output, usage, messages, stopped}`."""

    agent: str | Object
    prompt: JSON
    messages: tuple[Object, ...] = ()
    stream: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderTemplate:
    """Fill the placeholders of a text. Result: the text, or the value of a lone placeholder."""

    text: str
    data: Object


Effect: TypeAlias = (
    CallModel
    | Cast
    | Describe
    | CallFunction
    | Parallel
    | ReadState
    | WriteState
    | DeleteState
    | IncrementState
    | ScanState
    | WatchState
    | BeginTransaction
    | ReadInTransaction
    | ScanInTransaction
    | CommitTransaction
    | AbandonTransaction
    | BeginStep
    | EndStep
    | Ask
    | ContinueAsNew
    | Sleep
    | Record
    | RunAgent
    | RenderTemplate
)

Driver: TypeAlias = "Generator[Effect, Any, Any]"
"""Something that yields effects, is sent their results, and returns a value."""
