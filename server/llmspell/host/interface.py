"""What an edge sees of the host, in this process or behind the control socket.

`host.Host` performs; `host.remote.RemoteHost` says the same over the socket.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from llmspell.config import Project
from llmspell.host.catalogue import Catalogue
from llmspell.host.door_records import DoorRecords
from llmspell.host.key_interface import KeyAdmin
from llmspell.host.library_interface import Library
from llmspell.host.run_interface import Pruned, RunHandle, RunPage, Step, WaitedHandle
from llmspell.host.state_interface import StateAdmin
from llmspell.runs.record import Outcome, RunState
from llmspell.security.principals import Caller
from llmspell.values import JSON, Object


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
