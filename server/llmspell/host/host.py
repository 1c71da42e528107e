"""The host: the one door through which anything is cast.

Opens a project (store, engine, spellbook, models), begins casts and answers for
their runs. What a cast does is `runs`' part; who calls, the edges'.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

from llmspell import failpoints
from llmspell.clock import Clock, SystemClock
from llmspell.config import Project, open_project
from llmspell.errors import (
    InputInvalid,
    InternalError,
    RunError,
    RunNotFound,
    RunNotWaiting,
    SpellNotFound,
    UsageError,
)
from llmspell.host.api_keys import ApiKeys
from llmspell.host.building import load_limits, make_engine, make_models, make_store
from llmspell.host.chores import Chores
from llmspell.host.door_records import DoorRecords
from llmspell.host.handles import LiveHandle
from llmspell.host.interface import (
    Catalogue,
    HostInterface,
    Pruned,
    RunHandle,
    RunPage,
    Step,
)
from llmspell.host.keys import Keys, digest_of, joining_key
from llmspell.host.library import ProjectLibrary
from llmspell.host.limited_run import limited
from llmspell.host.lock import OwnerLock
from llmspell.host.new_runs import NewRuns
from llmspell.host.preparing import Preparing
from llmspell.host.running import Running
from llmspell.host.spellbook import Spellbook
from llmspell.host.state_admin import StateOperations
from llmspell.host.versions import Versions
from llmspell.host.waiting import Waiting
from llmspell.providers.registry import Providers
from llmspell.runs.archive import Archive
from llmspell.runs.castable import Castable
from llmspell.runs.casting import Casting
from llmspell.runs.journal import copied, read_journal
from llmspell.runs.live import LiveRun
from llmspell.runs.log import ListKind
from llmspell.runs.record import Outcome, RunState
from llmspell.runs.services import Services
from llmspell.runs.turns import Turns
from llmspell.runtime.engine import Engine, ScriptLimits
from llmspell.security.principals import Caller, local_caller
from llmspell.security.scopes import require_cast, require_runs
from llmspell.state.scopes import Scopes
from llmspell.state.store import Durability, Store, Write
from llmspell.values import JSON, Object

log = logging.getLogger(__name__)


class Host:
    """A project at work in this process. Made by `Host.open`."""

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
        self._store = store
        self._models = models
        self._book = book
        self._clock = clock
        self._archive = Archive(store)
        self._versions = Versions(store, engine, book)
        self._keys = Keys(store, seconds=project.settings.runs.idempotency)
        self._new_runs = NewRuns(self._archive, clock, self._versions, self._keys)
        self._watcher: asyncio.Task[None] | None = None
        self._closed = False
        limits = project.settings.limits
        self._services = Services(
            archive=self._archive,
            scopes=Scopes(store, clock=clock),
            models=models,
            clock=clock,
            limits=limits,
            model_settings=project.settings.models,
            script_limits=ScriptLimits(
                heap_bytes=limits.heap_bytes,
                slice_seconds=limits.slice_seconds,
                cpu_seconds=limits.cpu_seconds,
                host_calls=limits.host_calls,
            ),
            turns=Turns(queue=limits.queue),
            find=book.get,
            suggest=book.suggest,
            castable_of=self._versions.of,
            resource_changed=self._resource_changed,
            list_changed=self._list_changed,
            new_live=self._new_runs.live,
            history=project.settings.runs.history,
            ask_seconds=project.settings.runs.ask,
        )
        self._preparing = Preparing(self._services, self._new_runs, self._versions, book, engine)
        self._chores = Chores(self, project, store, book, clock)
        self.state = StateOperations(store, self._services.scopes, self._chores.checkpoints)
        """The state of spells, and its checkpoints."""
        self.records = DoorRecords(store, clock)
        """What doors keep for themselves."""
        self.api_keys = ApiKeys(self.records, clock)
        """The keys that HTTP may be opened with."""
        self.library = ProjectLibrary(self, book)
        """What there is to read, to fill in and to complete."""
        self._running = Running(self._services, clock, self._preparing.again, self._keys.end)

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
            store = make_store(project, state, clock)
            engine = make_engine(project)
            book = Spellbook(project, engine, load_limits(project))
            host = cls(project, store, engine, make_models(project, clock), book, clock)
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

    # -- the catalogue

    def catalogue(self) -> Catalogue:
        """Return what is published now. Runs nothing."""
        return self._book.catalogue

    def on_change(self, listener: Callable[[Catalogue], None]) -> Callable[[], None]:
        """Call `listener` after each change of the catalogue; return what ends that."""
        return self._book.on_change(listener)

    async def reload(self) -> Catalogue:
        """Look at every spell file again now, and return what is published."""
        return await self._book.reload()

    @property
    def book(self) -> Spellbook:
        """The spellbook, for checking files."""
        return self._book

    @property
    def models(self) -> Providers:
        """The providers, for showing what is there."""
        return self._models

    @property
    def services(self) -> Services:
        """What performing uses, for whoever performs effects that belong to no published spell."""
        return self._services

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

    # -- casting

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
        answered. When the waiter is cancelled and nobody else has the run, it
        stops.

        Raises:
            SpellNotFound: No such spell is published.
            InputInvalid: The input does not fit; no run was made.
            IdempotencyConflict: `key` was used for something else.
            RunInterrupted: The host was closed meanwhile.
        """
        castable = self._published(name, caller)
        if key is None and not castable.spec.join:
            return await self._running.wait(self._prepare(castable, input, caller, timeout))
        found = await self._begun_with(key, castable, input, caller, timeout)
        if isinstance(found, Casting):
            return await self._running.wait(found)
        return await (
            self._running.join(found) if isinstance(found, LiveHandle) else found.result()
        )

    async def begin(
        self,
        name: str,
        input: JSON,
        *,
        caller: Caller | None = None,
        timeout: float | None = None,
        key: str | None = None,
    ) -> Waiting:
        """Begin a cast for a caller that waits; nothing is stored before the run acts or ends.

        Raises:
            SpellNotFound: No such spell is published.
            InputInvalid: The input does not fit; no run was made.
            IdempotencyConflict: `key` was used for something else.
        """
        castable = self._published(name, caller)
        if key is None and not castable.spec.join:
            found = self._prepare(castable, input, caller, timeout)
        else:
            found = await self._begun_with(key, castable, input, caller, timeout)
        handle = self._running.begin(found) if isinstance(found, Casting) else found
        return Waiting(handle, self._running.left)

    def begin_part(self, castable: Castable, input: JSON, caller: Caller) -> Waiting:
        """Begin a cast of a part of a published file, for a caller that waits.

        Raises:
            InputInvalid: The input does not fit; no run was made.
        """
        handle = self._running.begin(self._prepare(castable, input, caller, None))
        return Waiting(handle, self._running.left)

    async def wait_for(self, run_id: str, *, caller: Caller) -> Waiting:
        """Wait for a run that was begun before, as one more of its callers.

        Raises:
            RunNotFound: There is none the caller may see.
            RunCollected: It was deleted: it ended too long ago.
        """
        return Waiting(await self._find(run_id, caller), self._running.left)

    async def cast_source(
        self,
        file: str,
        source: str,
        input: JSON,
        *,
        caller: Caller | None = None,
        timeout: float | None = None,
    ) -> Outcome:
        """Cast a source text that is not published: its top level is the cast."""
        return await self._running.wait(self._prepare_source(file, source, input, caller, timeout))

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
        return await self._started(self._prepare_source(file, source, input, caller, timeout))

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

        Raises:
            SpellNotFound: No such spell is published.
            InputInvalid: The input does not fit; no run was made.
            RunNotWaiting: The proposal is no run that waits for a spell.
            IdempotencyConflict: `key` was used for something else.
        """
        castable = self._published(name, caller)
        if key is not None or (castable.spec.join and proposal is None):
            found = await self._begun_with(key, castable, input, caller, timeout)
            if isinstance(found, Casting):
                return await self._started(found)
            if isinstance(found, LiveHandle):
                found.is_given = True
                await found.live.save(Durability.DURABLE)
            return found
        live = await self._proposal(proposal, caller) if proposal else None
        casting = self._prepare(castable, input, caller, timeout, live=live)
        claimed = self._running.get(casting.live.run.id)
        if claimed is None:
            return await self._started(casting)
        # Before the first await, so that a second answer finds the question answered.
        claimed.casting = casting
        try:
            await casting.live.save(Durability.DURABLE)
        except BaseException:  # a cancelled caller too: the question is open again
            claimed.casting = None
            raise
        return self._given(casting)

    async def propose(
        self, question: str, *, caller: Caller, data: Object | None = None
    ) -> RunHandle:
        """Make a run that waits for the choice of a spell: its state is `input_required`."""
        require_cast(caller, "")
        live = self._new_runs.proposed(data, caller)
        live.enter("input_required", message=question)
        await live.save(Durability.DURABLE)
        handle = self._running.hold(live)
        handle.is_given = True
        return handle

    async def run(self, run_id: str, *, caller: Caller) -> RunHandle:
        """Return the handle of a run of the caller's tenant and principal.

        Raises:
            RunNotFound: There is none the caller may see.
            RunCollected: It was deleted: it ended too long ago.
        """
        return await self._find(run_id, caller)

    async def journal(self, run_id: str, *, caller: Caller) -> Sequence[Step]:
        """Return the recorded effects of a run, in the order they were recorded."""
        await self._find(run_id, caller)
        return [
            Step(
                number=row.number,
                key=row.record.key,
                kind=row.record.kind,
                name=row.record.name,
                at=row.record.at,
                ok=row.record.ok,
            )
            for row in await read_journal(self._store, run_id)
            if not row.record.begun and row.record.kind != "order"
        ]

    async def fork(
        self, run_id: str, *, caller: Caller, step: int | None = None, current: bool = False
    ) -> RunHandle:
        """Begin a new run with the recorded effects of another before `step`, and go on from there.

        Raises:
            RunNotFound: There is none the caller may see.
            RunError: It is below another run, or waits for the choice of a spell.
        """
        origin = await (await self._running.find(run_id, caller)).record()
        if origin.parent is not None or not (origin.spell or origin.source):
            raise RunError(f"run {run_id} cannot be forked", hint="fork the run at its root")
        require_cast(caller, origin.spell)
        castable = self._published(origin.spell) if current else await self._versions.of(origin)
        live = self._new_runs.of(
            castable,
            origin.input,
            replace(caller, session=origin.session, message=origin.message),
            source=origin.source,
        )
        run = live.run
        run.seed, run.forked_from = origin.seed or origin.id, origin.id
        run.seconds, run.epoch, run.created_at = origin.seconds, origin.epoch, origin.created_at
        rows = [
            row
            for row in await read_journal(self._store, run_id)
            if step is None or row.number < step
        ]
        live.note("resumed", {"reason": "fork"})
        await self._kept(live, also=copied(rows, run.id))
        return self._given(await self._preparing.again(live))

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
        """Return the caller's runs, the last changed first.

        Raises:
            UsageError: `after` is no cursor of this list.
        """
        require_runs(caller)
        await self._running.save()
        try:
            found, more, total = await self._archive.list(
                caller,
                session=session,
                state=state,
                door=door,
                updated_after=updated_after,
                limit=limit,
                after=after,
            )
        except ValueError as error:
            raise UsageError(str(error)) from None
        return RunPage(runs=found, next=more, total=total)

    async def prune(
        self, *, caller: Caller, before: float | None = None, dry: bool = False
    ) -> Pruned:
        """Delete what the settings do not keep, or the caller's ended runs last changed before a
        time; with `dry` only count it."""
        await self._running.save()
        return await self._chores.keeping.prune(caller=caller, before=before, dry=dry)

    async def close(self) -> None:
        """Leave what is under way to the next owner, and release everything."""
        if self._closed:
            return
        self._closed = True
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        await self.library.close()
        await self._chores.close()
        await self._running.close()
        await self._models.close()
        await self.engine.close()
        await self._store.close()

    # -- inside

    def _resource_changed(self, tenant: str, uri: str) -> None:
        self.library.updated(uri, tenant)

    def _list_changed(self, kind: ListKind) -> None:
        self.library.list_changed(kind)

    async def _begin(self, *, watch: bool) -> None:
        await self._book.reload()
        await self._running.recover()
        await self._chores.schedules.begin()
        self.library.begin(watch=watch)
        if watch:
            self._chores.begin()
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        try:
            await self._book.watch()
        except Exception:  # a lost watcher must be seen, and must not end the server
            log.exception("watching the spells failed; changes are not seen until a restart")

    async def _find(self, run_id: str, caller: Caller) -> RunHandle:
        """Return a run of the caller's, with what its scopes allow."""
        require_runs(caller)
        return await limited(await self._running.find(run_id, caller), caller)

    def _published(self, name: str, caller: Caller | None = None) -> Castable:
        castable = self._book.get(name)
        if castable is None:
            raise SpellNotFound(f"no spell named {name!r}", hint=self._book.suggest(name))
        if caller is not None:
            require_cast(caller, name)
        return castable

    def _prepare(
        self,
        castable: Castable,
        input: JSON,
        caller: Caller | None,
        timeout: float | None,
        *,
        live: LiveRun | None = None,
    ) -> Casting:
        if self._closed:
            raise InternalError("the host is closed")
        return self._preparing.casting(castable, input, caller, timeout, live=live)

    async def _begun_with(
        self,
        key: str | None,
        castable: Castable,
        input: JSON,
        caller: Caller | None,
        timeout: float | None,
    ) -> Casting | RunHandle:
        """Return the run that `key` began, or a casting that is the first with it.

        Without a key: the same cast that is under way, or a casting that others may join.
        """
        caller = caller or local_caller()
        try:
            casting = self._prepare(castable, input, caller, timeout)
        except InputInvalid:
            if key is not None and (
                begun := await self._begun_before(key, castable, input, caller)
            ):
                return begun
            raise
        run = casting.live.run
        if key is not None:
            # Whatever became of the spell since: who asks again, perhaps a bridge after its owner
            # was killed, means the run that was begun then.
            run.key, digest = key, digest_of(run.input)
        else:
            digest = digest_of(run.input, version=castable.version)
            run.key = joining_key(digest)
        found = await self._keys.find(caller, castable.name, run.key, digest)
        if found is not None:
            try:
                handle = await self._running.find(found, caller)
            except RunNotFound:
                log.debug("the run of key %r is gone", run.key)
            else:
                if key is not None or not (await handle.record()).is_final:
                    return handle
        self._keys.begin(caller, castable.name, run.key, digest, run.id)
        return casting

    async def _begun_before(
        self, key: str, castable: Castable, input: JSON, caller: Caller
    ) -> RunHandle | None:
        """Return the run that a key began with an input that does not fit the spell any more."""
        found = await self._keys.run_of(caller, castable.name, key)
        if found is None:
            return None
        try:
            handle = await self._running.find(found, caller)
        except RunNotFound:
            return None
        begun: JSON = (await handle.record()).input
        if isinstance(input, dict) and isinstance(begun, dict):
            kept = cast(Object, begun)
            begun = {name: kept.get(name) for name in cast(Object, input)}  # without the defaults
        return handle if begun == input else None

    async def _started(self, casting: Casting) -> RunHandle:
        """Begin a cast once its record is durable."""
        handle = await self._kept(casting.live)
        return handle if handle.live.run.is_final else self._given(casting)

    async def _kept(self, live: LiveRun, *, also: Sequence[Write] = ()) -> LiveHandle:
        """Save a new run. Whoever looks for it meanwhile, by id or key, finds this one."""
        handle = self._running.hold(live)
        try:
            await live.save(Durability.DURABLE, also=also)
        except BaseException:  # a cancelled caller too: nobody would ever begin this run
            self._running.give_up(handle)
            raise
        return handle

    def _given(self, casting: Casting) -> LiveHandle:
        """Begin a cast whose handle somebody is given."""
        handle = self._running.begin(casting)
        handle.is_given = True
        return handle

    def _prepare_source(
        self, file: str, source: str, input: JSON, caller: Caller | None, timeout: float | None
    ) -> Casting:
        if self._closed:
            raise InternalError("the host is closed")
        return self._preparing.of_source(file, source, input, caller, timeout)

    async def _proposal(self, run_id: str, caller: Caller | None) -> LiveRun:
        handle = await self.run(run_id, caller=caller or local_caller())
        if (
            not isinstance(handle, LiveHandle)
            or handle.live.run.state != "input_required"
            or handle.casting is not None
        ):
            raise RunNotWaiting(f"run {run_id} waits for no answer", run_id=run_id)
        return handle.live
