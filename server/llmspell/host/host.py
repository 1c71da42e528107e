"""The host: the one door through which anything is cast.

Here it is put together, opened and closed, and here casts begin whose callers wait. The
rest stands in a module of its own: `starting` (runs whose handle is given), `joining`
(casts that are one run), `visible_runs` (what callers see), `running` (runs under way),
`library`, `schedules`, `api_keys`, `state_admin`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

from llmspell import failpoints
from llmspell.clock import Clock, SystemClock
from llmspell.config import Project, open_project
from llmspell.host.api_keys import ApiKeys
from llmspell.host.building import (
    load_limits,
    make_engine,
    make_models,
    make_services,
    make_store,
)
from llmspell.host.catalogue import Catalogue
from llmspell.host.chores import Chores
from llmspell.host.door_records import DoorRecords
from llmspell.host.interface import HostInterface
from llmspell.host.joining import Joining
from llmspell.host.keys import Keys
from llmspell.host.library import ProjectLibrary
from llmspell.host.lock import OwnerLock
from llmspell.host.new_runs import NewRuns
from llmspell.host.preparing import Preparing
from llmspell.host.run_interface import Pruned, RunHandle, RunPage, Step
from llmspell.host.running import Running
from llmspell.host.spellbook import Spellbook
from llmspell.host.starting import Starting
from llmspell.host.state_admin import StateOperations
from llmspell.host.versions import Versions
from llmspell.host.visible_runs import VisibleRuns
from llmspell.host.waiting import Waiting
from llmspell.providers.registry import Providers
from llmspell.runs.archive import Archive
from llmspell.runs.castable import Castable
from llmspell.runs.casting import Casting
from llmspell.runs.record import Outcome, RunState
from llmspell.runs.services import Services
from llmspell.runtime.engine import Engine
from llmspell.security.principals import Caller
from llmspell.security.scopes import require_cast
from llmspell.state.store import Store
from llmspell.values import JSON, Object


class Host:
    """A project at work in this process. Made by `Host.open`; see `DoorHost`."""

    def __init__(
        self,
        project: Project,
        store: Store,
        engine: Engine,
        models: Providers,
        book: Spellbook,
        clock: Clock,
    ) -> None:
        self.project = project
        self.engine = engine
        self.models = models
        """The providers, for showing what is there."""
        self.book = book
        """The spellbook, for checking files."""
        self.library = ProjectLibrary(self, project, book)
        """What there is to read, to fill in and to complete."""
        self._store = store
        self._clock = clock
        archive = Archive(store)
        versions = Versions(store, engine, book)
        keys = Keys(store, seconds=project.settings.runs.idempotency)
        new_runs = NewRuns(archive, clock, versions, keys)
        self.services: Services = make_services(
            project,
            archive,
            models,
            book,
            versions,
            clock,
            new_live=new_runs.live,
            resource_changed=self.library.resource_changed,
            list_changed=self.library.list_changed,
        )
        """What performing uses, for whoever performs effects that belong to no published spell."""
        self._preparing = Preparing(self.services, new_runs, versions, book, engine)
        self._running = Running(self.services, self._preparing.again, keys.end)
        self._joining = Joining(keys, self._running, self._preparing, new_runs)
        self._starting = Starting(
            store, book, versions, new_runs, self._preparing, self._running, self._joining
        )
        self._chores = Chores(self, project, store, book, clock)
        self._visible = VisibleRuns(archive, self._running, self._chores.keeping)
        self.state = StateOperations(store, self.services.scopes, self._chores.checkpoints)
        """The state of spells, and its checkpoints."""
        self.records = DoorRecords(store, clock)
        """What doors keep for themselves."""
        self.api_keys = ApiKeys(self.records, clock)
        """The keys that HTTP may be opened with."""
        self._is_closed = False
        self._closing = asyncio.Lock()

    # -- opening and closing

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        project: Project | str | Path | None = None,
        *,
        state: Literal["rocksdb", "memory"] = "rocksdb",
        watch: bool = True,
        clock: Clock | None = None,
        environ: Mapping[str, str] | None = None,
        lock: OwnerLock | None = None,
    ) -> AsyncGenerator[Host]:
        """Open a project and own its state directory until the context ends.

        Args:
            project: A directory, or an opened `Project`; see `config.open_project`.
            state: Where state lives: `memory` forgets it at the end.
            watch: Whether spells are reloaded when their files change.
            clock: The clock of every deadline; the machine's own when None.
            environ: The environment the settings are read from.
            lock: The lock of the state directory, when the caller holds it already.

        Raises:
            StateOwned: Another process owns the state directory.
            StateNewerFormat: The database is of a newer llmspell.
            ConfigError: A setting is wrong.
        """
        if not isinstance(project, Project):
            project = open_project(project, environ=environ)
        failpoints.arm(project.environment.get("LLMSPELL_FAILPOINT", ""))
        taken = OwnerLock.take(project.state) if lock is None and state == "rocksdb" else None
        try:
            clock = clock or SystemClock()
            engine, models = make_engine(project), make_models(project, clock)
            book = Spellbook(project, engine, load_limits(project))
            # Last: what fails before it leaves no database open.
            store = make_store(project, state, clock)
            host = cls(project, store, engine, models, book, clock)
            try:
                await host._begin(watch=watch)
                yield host
            finally:
                await host.close()
        finally:
            if taken is not None:
                taken.release()

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, project: Project | str | Path | None = None
    ) -> AsyncGenerator[HostInterface]:
        """Attach to the owner of a project, started when there is none: the same interface.

        Raises:
            OwnerUnreachable: None answers, and none could be started.
            OwnerVersion: The owner speaks another protocol.
        """
        from llmspell.host.remote import RemoteHost

        if not isinstance(project, Project):
            project = open_project(project)
        remote = await RemoteHost.attach(project)
        try:
            yield remote
        finally:
            await remote.close()

    async def _begin(self, *, watch: bool) -> None:
        await self.book.reload()
        await self._running.recover()
        await self._chores.schedules.begin()
        self.library.begin(watch=watch)
        if watch:
            self._chores.begin()

    async def close(self) -> None:
        """Leave what is under way to the next owner, and release everything.

        What can be released is, whatever else fails and whoever cancels this. A second time it
        returns once the first is over.
        """
        async with self._closing:
            if not self._is_closed:
                self._is_closed = True
                await self._release()

    async def _release(self) -> None:
        self._preparing.close()
        async with AsyncExitStack() as parts:  # the last one goes first
            parts.push_async_callback(self._store.close)
            parts.push_async_callback(self.engine.close)
            parts.push_async_callback(self.models.close)
            parts.push_async_callback(self._running.close)
            parts.push_async_callback(self.library.close)
            parts.push_async_callback(self._chores.close)

    @property
    def busy(self) -> bool:
        """Whether a cast is under way."""
        return self._running.is_busy

    def due_within(self, seconds: float) -> bool:
        """Return whether the host is needed within so many seconds although nobody calls.

        A schedule always needs it: nobody else would begin what is due.
        """
        if self._chores.schedules.next_due() is not None:
            return True
        due = self._running.next_due()
        return due is not None and due <= self._clock.time() + seconds

    # -- the catalogue

    def catalogue(self) -> Catalogue:
        """Return what is published now. Runs nothing."""
        return self.book.catalogue

    def on_change(self, listener: Callable[[Catalogue], None]) -> Callable[[], None]:
        """Call `listener` after each change of the catalogue; return what ends that."""
        return self.book.on_change(listener)

    async def reload(self) -> Catalogue:
        """Look at every spell file again now, and return what is published."""
        return await self.book.reload()

    # -- casting for callers that wait

    async def cast(
        self,
        name: str,
        input: JSON,
        *,
        caller: Caller | None = None,
        timeout: float | None = None,
        key: str | None = None,
    ) -> Outcome:
        """Cast a published spell and wait for what comes of it. See `HostInterface.cast`.

        Raises:
            RunInterrupted: The host was closed meanwhile.
        """
        waiting = await self.begin(name, input, caller=caller, timeout=timeout, key=key)
        return await waiting.outcome()

    async def begin(
        self,
        name: str,
        input: JSON,
        *,
        caller: Caller | None = None,
        timeout: float | None = None,
        key: str | None = None,
    ) -> Waiting:
        """Begin a cast for a caller that waits. See `DoorHost.begin`."""
        castable = self.book.get(name)
        if castable is None:
            raise self.book.unknown(name)
        if caller is not None:
            require_cast(caller, name)
        if key is None and not castable.spec.join:
            found = self._preparing.casting(castable, input, caller, timeout)
        else:
            found = await self._joining.begun(key, castable, input, caller, timeout)
        handle = self._running.begin(found) if isinstance(found, Casting) else found
        return Waiting(handle, self._running.left)

    def begin_part(self, castable: Castable, input: JSON, caller: Caller) -> Waiting:
        """Begin a cast of a part of a published file, for a caller that waits.

        Raises:
            InputInvalid: The input does not fit; no run was made.
        """
        casting = self._preparing.casting(castable, input, caller, None)
        return Waiting(self._running.begin(casting), self._running.left)

    async def wait_for(self, run_id: str, *, caller: Caller) -> Waiting:
        """Wait for a run that was begun before. See `DoorHost.wait_for`."""
        return Waiting(await self._visible.find(run_id, caller), self._running.left)

    async def cast_source(
        self,
        file: str,
        source: str,
        input: JSON,
        *,
        caller: Caller | None = None,
        timeout: float | None = None,
    ) -> Outcome:
        """Cast a source text that is not published. See `HostInterface.cast_source`."""
        casting = self._preparing.of_source(file, source, input, caller, timeout)
        return await Waiting(self._running.begin(casting), self._running.left).outcome()

    # -- runs whose handle is given

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
        """Begin a cast and return its handle once it is durable. See `HostInterface.start`."""
        return await self._starting.start(
            name, input, caller=caller, timeout=timeout, proposal=proposal, key=key
        )

    async def start_source(
        self,
        file: str,
        source: str,
        input: JSON,
        *,
        caller: Caller | None = None,
        timeout: float | None = None,
    ) -> RunHandle:
        """Begin a cast of a source text. See `HostInterface.start_source`."""
        return await self._starting.start_source(
            file, source, input, caller=caller, timeout=timeout
        )

    async def propose(
        self, question: str, *, caller: Caller, data: Object | None = None
    ) -> RunHandle:
        """Make a run that waits for the choice of a spell: its state is `input_required`."""
        return await self._starting.propose(question, caller=caller, data=data)

    async def fork(
        self, run_id: str, *, caller: Caller, step: int | None = None, current: bool = False
    ) -> RunHandle:
        """Begin a new run with the recorded effects of another. See `HostInterface.fork`."""
        return await self._starting.fork(run_id, caller=caller, step=step, current=current)

    # -- the runs there are

    async def run(self, run_id: str, *, caller: Caller) -> RunHandle:
        """Return the handle of a run of the caller's tenant and principal. See `HostInterface`."""
        return await self._visible.find(run_id, caller)

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
        """Return the caller's runs, the last changed first. See `HostInterface.runs`."""
        return await self._visible.list(
            caller=caller,
            session=session,
            state=state,
            door=door,
            updated_after=updated_after,
            limit=limit,
            after=after,
        )

    async def journal(self, run_id: str, *, caller: Caller) -> Sequence[Step]:
        """Return the recorded effects of a run, in the order they were recorded."""
        return await self._visible.journal(run_id, caller)

    async def prune(
        self, *, caller: Caller, before: float | None = None, dry: bool = False
    ) -> Pruned:
        """Delete runs that are not kept, or only count them. See `HostInterface.prune`."""
        return await self._visible.prune(caller=caller, before=before, dry=dry)
