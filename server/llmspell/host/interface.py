"""What an edge sees of the host, in this process or behind the control socket.

`host.Host` performs; `host.remote.RemoteHost` says the same over the socket.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from llmspell.config import Project
from llmspell.host.door_records import DoorRecords
from llmspell.host.key_interface import KeyAdmin
from llmspell.host.library_interface import Library, PublishedPrompt, PublishedResource
from llmspell.host.state_interface import StateAdmin
from llmspell.runs.record import Event, Outcome, Run, RunState
from llmspell.security.principals import Caller
from llmspell.values import JSON, Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A spell as the edges publish it. Nothing of it runs when it is listed."""

    name: str
    title: str = ""
    description: str = ""
    input_schema: Object = field(default_factory=dict[str, Any])
    output_schema: Object | None = None
    read_only: bool = False
    destructive: bool | None = None
    idempotent: bool = False
    open_world: bool | None = None
    tags: tuple[str, ...] = ()
    examples: tuple[Object, ...] = ()
    """Each `{input, output?}`."""
    expose_mcp: bool = True
    expose_a2a: bool = True
    version: str = ""
    """Content hash of the sources."""
    file: str = ""
    kind: str = "spell"
    """What the file returned: spell, agent, tool or workflow."""
    bundle: str = ""
    """The bundle it comes from; "" = the project's own."""
    wait: float | None = None
    """Seconds a caller waits before `when_long` decides; None = the setting `runs.wait`."""
    when_long: Literal["handle", "wait", "fail"] = "handle"
    task: Literal["optional", "required", "never"] = "optional"
    """Whether a client that knows tasks gets one of it."""
    icon: str = ""
    """URL of an image that shows it; "" = none."""
    problem: Object | None = None
    """The error of a newer source that does not load, while this older version stays."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The published spells at one moment, sorted by name."""

    generation: int
    """Grows with every change."""
    spells: tuple[Published, ...]
    problems: tuple[Object, ...] = ()
    """Errors of files that publish nothing, each an error object with `where`."""
    resources: tuple[PublishedResource, ...] = ()
    """What can be read, sorted: resources before templates, each by URI. The project's files are
    not among them; see `Library.resources`."""
    prompts: tuple[PublishedPrompt, ...] = ()
    """What can be filled in, sorted by name."""

    def get(self, name: str) -> Published | None:
        """Return the spell of this name, or None."""
        return next((spell for spell in self.spells if spell.name == name), None)


class RunHandle(Protocol):
    """A run, under way or ended."""

    id: str

    async def record(self) -> Run:
        """Return the record as it stands now."""
        ...

    def events(self, after: int = 0, *, until_pause: bool = False) -> AsyncIterator[Event]:
        """Yield every event numbered above `after`, live, until the run has ended.

        With `until_pause` the iteration also ends when the run waits for an answer.
        """
        ...

    async def result(self) -> Outcome:
        """Wait until the run has ended or waits for an answer, and return what came of it.

        Cancelling the waiter detaches it; it does not cancel the run.
        """
        ...

    async def cancel(self) -> Run:
        """Stop the run and everything it began, and return its record. Idempotent.

        Raises:
            RunNotCancelable: It has already completed, failed or been rejected.
        """
        ...

    async def answer(
        self,
        value: JSON,
        *,
        question: str | None = None,
        action: Literal["accept", "decline", "cancel"] = "accept",
    ) -> Run:
        """Answer a question the run asks, and return its record; the answer is durable by then.

        Args:
            value: An object that fits the question's schema; for a schema with one field,
                that field's value will do.
            question: Id of the question; may be left out while there is one.
            action: `decline` refuses to answer, `cancel` leaves the question open.
        Raises:
            RunNotWaiting: The run asks nothing, or not this.
            AskInvalid: The value does not fit, or several questions are open; nothing changed.
        """
        ...


class WaitedHandle(RunHandle, Protocol):
    """A run whose caller waits for it; see `DoorHost.begin`. Ends with `leave` or `keep`."""

    async def keep(self) -> None:
        """Let the run go on without this caller: its record is durable when this returns, and
        only `cancel` stops it."""
        ...

    async def leave(self) -> None:
        """Stop waiting. The run stops when nobody else has it and its spell is not detached.

        Does nothing after `keep` or a first `leave`.
        """
        ...

    async def let_go(self) -> None:
        """Stop waiting and leave the run as it is: the caller's connection broke, and may be
        back. Does nothing after `keep` or `leave`."""
        ...

    async def last(self, kind: str) -> Event | None:
        """Return the newest event of a kind, or None; looks at the last 1,000 only."""
        ...

    async def settled(self, *, until: float | None = None) -> Outcome:
        """As `result`, but of several questions asked at once none is missing.

        Args:
            until: Time of the event loop at which nobody waits any more.

        Raises:
            TimeoutError: It is `until`.
        """
        ...


class HostInterface(Protocol):
    """The one door."""

    @property
    def state(self) -> StateAdmin:
        """What spells keep, and the database it is in, as their operator sees them."""
        ...

    @property
    def api_keys(self) -> KeyAdmin:
        """The keys that `auth = "keys"` lets in."""
        ...

    def catalogue(self) -> Catalogue:
        """Return what is published now. Runs nothing."""
        ...

    def on_change(self, listener: Callable[[Catalogue], None]) -> Callable[[], None]:
        """Call `listener` after each change of the catalogue; return what ends that."""
        ...

    async def cast(
        self,
        name: str,
        input: JSON,
        *,
        caller: Caller | None = None,
        timeout: float | None = None,
        key: str | None = None,
    ) -> Outcome:
        """Cast a published spell and wait for what comes of it.

        A failed run is an `Outcome` with `error`, not an exception; one that
        asks a person comes back as `input_required`, and goes on once it is
        answered. When the waiter is cancelled and nobody else was given the
        run, the run stops.

        Args:
            timeout: Seconds the whole cast may take; the settings' limit when None.
        Raises:
            SpellNotFound: No such spell is published.
            InputInvalid: The input does not fit; no run was made.
            IdempotencyConflict: `key` was used for something else.
        """
        ...

    async def start(
        self,
        name: str,
        input: JSON,
        *,
        caller: Caller | None = None,
        timeout: float | None = None,
        proposal: str | None = None,
        key: str | None = None,
    ) -> RunHandle:
        """Begin a cast and return its handle once its record is durable.

        Args:
            proposal: Id of a run made by `propose` that this cast carries on.
            key: Idempotency key. The same key of the same tenant, principal, session and spell
                within 24 h gives the run that was begun first.
        Raises:
            SpellNotFound: No such spell is published.
            InputInvalid: The input does not fit; no run was made.
        """
        ...

    async def cast_source(
        self,
        file: str,
        source: str,
        input: JSON,
        *,
        caller: Caller | None = None,
        timeout: float | None = None,
    ) -> Outcome:
        """Cast a source text that is not published: its top level is the cast.

        When it returns a spell, agent, tool or workflow, that is cast with
        `input`; otherwise the output is what it returned, or the result of its
        last top-level cast when it returned nothing.
        """
        ...

    async def start_source(
        self,
        file: str,
        source: str,
        input: JSON,
        *,
        caller: Caller | None = None,
        timeout: float | None = None,
    ) -> RunHandle:
        """Begin a cast of a source text, as `cast_source` casts it, and return its handle."""
        ...

    async def propose(
        self, question: str, *, caller: Caller, data: Object | None = None
    ) -> RunHandle:
        """Make a run that waits for the choice of a spell: its state is `input_required`."""
        ...

    async def run(self, run_id: str, *, caller: Caller) -> RunHandle:
        """Return the handle of a run of the caller's tenant and principal.

        Raises:
            RunNotFound: There is none the caller may see.
        """
        ...

    async def runs(
        self,
        *,
        caller: Caller,
        session: str | None = None,
        state: RunState | None = None,
        door: str | None = None,
        updated_after: float | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> RunPage:
        """Return the caller's runs, the last updated first.

        Args:
            after: The `next` of the page before.
        """
        ...

    async def fork(
        self, run_id: str, *, caller: Caller, step: int | None = None, current: bool = False
    ) -> RunHandle:
        """Begin a new run with the recorded effects of another before `step`, and go on from there.

        Args:
            step: Number of the first recorded effect that is not taken over; None = take all.
            current: Use the published version of the spell instead of the one the run had.
        Raises:
            RunNotFound: There is none the caller may see.
            RunCollected: Its journal was deleted.
        """
        ...

    async def journal(self, run_id: str, *, caller: Caller) -> Sequence[Step]:
        """Return the recorded effects of a run, in the order they were recorded."""
        ...

    async def prune(
        self, *, caller: Caller, before: float | None = None, dry: bool = False
    ) -> Pruned:
        """Delete what the settings do not keep, or every ended run of the caller last changed
        before a time; with `dry` only count it."""
        ...

    async def close(self) -> None:
        """End what is under way and release everything. Closing twice is no error."""
        ...


class DoorHost(HostInterface, Protocol):
    """The host as the doors of its own process see it: what makes no sense over a socket."""

    @property
    def project(self) -> Project:
        """The project that is served, and its settings."""
        ...

    @property
    def records(self) -> DoorRecords:
        """What doors keep for themselves across restarts."""
        ...

    @property
    def library(self) -> Library:
        """The resources, prompts and completions of the project."""
        ...

    async def begin(
        self,
        name: str,
        input: JSON,
        *,
        caller: Caller | None = None,
        timeout: float | None = None,
        key: str | None = None,
    ) -> WaitedHandle:
        """Begin a cast for a caller that waits; nothing is stored before the run acts or ends.

        The caller ends its wait with `keep` or `leave`; until then it counts as
        one who has the run. With `key`, or where the spell joins, several
        callers may wait for one run.

        Raises:
            SpellNotFound: No such spell is published.
            InputInvalid: The input does not fit; no run was made.
            IdempotencyConflict: `key` was used for something else.
            AccessForbidden: The caller may not cast it.
        """
        ...

    async def wait_for(self, run_id: str, *, caller: Caller) -> WaitedHandle:
        """Wait for a run that was begun before, as one more of its callers.

        Raises:
            RunNotFound: There is none the caller may see.
            RunCollected: It was deleted: it ended too long ago.
        """
        ...


@dataclass(frozen=True, slots=True)
class RunPage:
    """One page of a list of runs."""

    runs: Sequence[Run]
    next: str | None
    """Cursor of the next page, or None."""
    total: int
    """How many runs there are on all pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One recorded effect of a run."""

    number: int
    """Growing in the order they were recorded, with gaps; `fork` takes it."""
    key: str
    kind: str
    name: str
    at: float
    ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What `prune` deleted, or would delete."""

    runs: int
    bytes: int
