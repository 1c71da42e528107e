"""The host: the one door through which anything is cast.

Opens a project (store, engine, spellbook, models), begins casts and answers for
their runs. What a cast does is `runs`' part; who calls, the edges'.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from llmspell import failpoints, plugins
from llmspell.clock import Clock, SystemClock
from llmspell.config import Project, open_project
from llmspell.errors import (
    InternalError,
    RunError,
    RunInterrupted,
    RunNotFound,
    RunNotWaiting,
    SpellNotFound,
    StateError,
    UsageError,
)
from llmspell.host.handles import LiveHandle, StoredHandle
from llmspell.host.interface import Catalogue, HostInterface, RunHandle, RunPage
from llmspell.host.spellbook import Spellbook
from llmspell.providers.registry import Providers
from llmspell.runs.archive import Archive
from llmspell.runs.castable import Castable, make_castable
from llmspell.runs.casting import Casting
from llmspell.runs.live import LiveRun
from llmspell.runs.record import Outcome, Run, RunState, is_run_id, new_run_id
from llmspell.runs.services import Services
from llmspell.runs.turns import Turns
from llmspell.runtime.engine import Engine, ScriptLimits
from llmspell.security.principals import Caller, local_caller
from llmspell.spec.declaration import SpellSpec
from llmspell.spec.reading import Origin
from llmspell.state.scopes import Scopes
from llmspell.state.store import Durability, Store
from llmspell.values import JSON, Object

log = logging.getLogger(__name__)

DEFAULT_MODELS = (
    ("ANTHROPIC_API_KEY", "anthropic/claude-sonnet-4-5"),
    ("OPENAI_API_KEY", "openai/gpt-5"),
    ("GEMINI_API_KEY", "gemini/gemini-2.5-flash"),
    ("MISTRAL_API_KEY", "mistral/mistral-large-latest"),
)
"""The default model when the settings name none: the first whose provider has a key."""

CLOSE_SECONDS = 5.0
"""Longest time `close` waits for casts to record that they were interrupted."""


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
        self._live: dict[str, LiveHandle] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._closed = False
        limits = project.settings.limits
        self._services = Services(
            archive=self._archive,
            scopes=Scopes(store),
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
        )

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
    ) -> AsyncGenerator[Host]:
        """Open a project and own its state directory until the context ends.

        Args:
            project: A directory, or an opened `Project`; see `config.open_project`.
            state: Where state lives: `memory` forgets it at the end.
            watch: Whether spells are reloaded when their files change.
            clock: The clock of every deadline; the machine's own when None.
            environ: The environment the settings are read from.

        Raises:
            StateOwned: Another process owns the state directory.
            StateNewerFormat: The database is of a newer llmspell.
            ConfigError: A setting is wrong.
        """
        if not isinstance(project, Project):
            project = open_project(project, environ=environ)
        failpoints.arm(project.environment.get("LLMSPELL_FAILPOINT", ""))
        host = _build(project, state, clock or SystemClock())
        try:
            await host._begin(watch=watch)
            yield host
        finally:
            await host.close()

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
        return any(
            handle.task is not None and not handle.task.done() for handle in self._live.values()
        )

    # -- casting

    async def cast(
        self, name: str, input: JSON, *, caller: Caller | None = None, timeout: float | None = None
    ) -> Outcome:
        """Cast a published spell and wait for what comes of it.

        A failed run is an `Outcome` with `error`, not an exception. When the
        waiter is cancelled the run stops.

        Raises:
            SpellNotFound: No such spell is published.
            InputInvalid: The input does not fit; no run was made.
        """
        castable = self._published(name)
        return await self._wait(self._prepare(castable, input, caller, timeout))

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
        return await self._wait(self._prepare_source(file, source, input, caller, timeout))

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
        casting = self._prepare_source(file, source, input, caller, timeout)
        await casting.live.save(Durability.DURABLE)
        return self._begin_cast(casting)

    async def start(
        self,
        name: str,
        input: JSON,
        *,
        caller: Caller | None = None,
        timeout: float | None = None,
        proposal: str | None = None,
    ) -> RunHandle:
        """Begin a cast and return its handle once its record is durable.

        Raises:
            SpellNotFound: No such spell is published.
            InputInvalid: The input does not fit; no run was made.
            RunNotWaiting: The proposal is no run that waits for a spell.
        """
        castable = self._published(name)
        live = await self._proposal(proposal, caller) if proposal else None
        casting = self._prepare(castable, input, caller, timeout, live=live)
        claimed = self._live.get(casting.live.run.id)
        if claimed is not None:
            # Before the first await, so that a second answer finds the question answered.
            claimed.casting = casting
        try:
            await casting.live.save(Durability.DURABLE)
        except BaseException:
            if claimed is not None:
                claimed.casting = None
            raise
        return self._begin_cast(casting)

    async def propose(
        self, question: str, *, caller: Caller, data: Object | None = None
    ) -> RunHandle:
        """Make a run that waits for the choice of a spell: its state is `input_required`."""
        live = self._new_run("", "", data, caller)
        live.enter("input_required", message=question)
        await live.save(Durability.DURABLE)
        handle = LiveHandle(live, forget=self._drop)
        self._live[handle.id] = handle
        return handle

    async def run(self, run_id: str, *, caller: Caller) -> RunHandle:
        """Return the handle of a run of the caller's tenant and principal.

        Raises:
            RunNotFound: There is none the caller may see.
        """
        if not is_run_id(run_id):
            raise RunNotFound(f"no run {run_id[:64]!r}")
        handle = self._live.get(run_id)
        run = handle.live.run if handle else await self._archive.load(caller.tenant, run_id)
        if run.tenant != caller.tenant or run.principal != caller.principal:
            # The same answer as for a run that never was: ids of others are not confirmed.
            raise RunNotFound(f"no run {run_id!r}")
        if handle is not None:
            return handle
        if run.is_final:
            return StoredHandle(run, self._archive)
        return await self._revive(run)

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
        for handle in self._live.values():
            if handle.live.is_saved:
                await handle.live.save()
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

    async def close(self) -> None:
        """Interrupt what is under way, record that, and release everything."""
        if self._closed:
            return
        self._closed = True
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        tasks: list[asyncio.Task[Outcome]] = []
        stopped: list[Casting] = []
        for handle in self._live.values():
            if handle.casting is not None and handle.task is not None and not handle.task.done():
                handle.casting.interrupted = True
                handle.task.cancel()
                tasks.append(handle.task)
                stopped.append(handle.casting)
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
            await self._record_unbegun(stopped)
        await self._models.close()
        await self.engine.close()
        await self._store.close()

    # -- inside

    async def _record_unbegun(self, stopped: list[Casting]) -> None:
        """End the runs whose tasks were cancelled before their first step."""
        for casting in stopped:
            if not casting.live.run.is_final and casting.live.is_saved:
                try:
                    await casting.stopped()
                except (RunError, StateError) as error:  # the next owner finds the run and ends it
                    log.warning("run %s could not be recorded: %s", casting.live.run.id, error)

    async def _begin(self, *, watch: bool) -> None:
        await self._end_interrupted()
        await self._book.reload()
        if watch:
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        try:
            await self._book.watch()
        except Exception:  # a lost watcher must be seen, and must not end the server
            log.exception("watching the spells failed; changes are not seen until a restart")

    async def _end_interrupted(self) -> None:
        """End the runs a dead owner left: nothing performs them any more."""
        for run in await self._archive.live():
            if run.state not in ("submitted", "working"):
                continue
            live = LiveRun(
                run, self._archive, self._clock, events=await self._archive.events(run.id)
            )
            error = RunInterrupted(
                f"the cast of {run.spell!r} was interrupted: llmspell ended while it was under way"
            ).with_run(run.id)
            await live.finish("failed", error=error.to_value(), durability=Durability.DURABLE)
            log.warning("run %s of %s was interrupted", run.id, run.spell)

    def _published(self, name: str) -> Castable:
        castable = self._book.get(name)
        if castable is None:
            raise SpellNotFound(f"no spell named {name!r}", hint=self._book.suggest(name))
        return castable

    def _new_run(self, spell: str, version: str, input: JSON, caller: Caller) -> LiveRun:
        now = round(self._clock.time(), 6)
        run = Run(
            id=new_run_id(now),
            tenant=caller.tenant,
            principal=caller.principal,
            session=caller.session,
            spell=spell,
            spell_version=version,
            door=caller.door,
            input=input,
            created_at=now,
            updated_at=now,
            message=caller.message,
        )
        return LiveRun(run, self._archive, self._clock)

    def _prepare(
        self,
        castable: Castable,
        input: JSON,
        caller: Caller | None,
        timeout: float | None,
        *,
        live: LiveRun | None = None,
        as_file: bool = False,
    ) -> Casting:
        if self._closed:
            raise InternalError("the host is closed")
        caller = caller or local_caller()
        limit = self.project.settings.limits.input_bytes
        value = input if as_file else castable.accept_input(input, limit_bytes=limit)
        if live is None:
            live = self._new_run(castable.name, castable.version, value, caller)
        else:
            live.run.spell, live.run.spell_version = castable.name, castable.version
            live.run.input = value
            live.run.message = caller.message
        return Casting(
            self._services, live, castable, value, caller, timeout=timeout, as_file=as_file
        )

    def _prepare_source(
        self, file: str, source: str, input: JSON, caller: Caller | None, timeout: float | None
    ) -> Casting:
        path = Path(file)
        name = path.name if path.is_absolute() else file
        directory = path.parent if path.is_absolute() else None
        program = self._book.program_of(name, source.encode(), directory)
        stem = "".join(c if c.isalnum() and c.isascii() else "_" for c in path.stem)
        # The run is called after the file until the file says what it casts.
        spec = SpellSpec(name=(stem if stem[:1].isalpha() else f"x{stem}")[:48])
        castable = make_castable(
            spec, Origin(name, source), self.engine, program=program, unrestricted=True
        )
        return self._prepare(castable, input, caller, timeout, as_file=True)

    def _begin_cast(self, casting: Casting) -> LiveHandle:
        handle = self._live.get(casting.live.run.id) or LiveHandle(casting.live, forget=self._drop)
        handle.casting = casting
        self._live[handle.id] = handle
        # At once: who is given the handle of an answered question must not find it waiting.
        casting.live.enter("working")
        handle.task = asyncio.get_running_loop().create_task(casting.run())
        handle.task.add_done_callback(self._forget)
        handle.task.set_name(handle.id)
        return handle

    def _drop(self, run_id: str) -> None:
        self._live.pop(run_id, None)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._live.pop(task.get_name(), None)
        if not task.cancelled() and task.exception() is not None:
            log.error("run %s could not be recorded: %s", task.get_name(), task.exception())

    async def _wait(self, casting: Casting) -> Outcome:
        handle = self._begin_cast(casting)
        assert handle.task is not None
        try:
            return await asyncio.shield(handle.task)
        except asyncio.CancelledError:
            if handle.task.cancelled() or handle.task.done():
                # Somebody else stopped the run: its waiter is told, not cancelled.
                waiter = asyncio.current_task()
                if waiter is None or not waiter.cancelling():
                    return await handle.result()
            handle.task.cancel()
            await asyncio.wait([handle.task])
            raise

    async def _proposal(self, run_id: str, caller: Caller | None) -> LiveRun:
        handle = await self.run(run_id, caller=caller or local_caller())
        if (
            not isinstance(handle, LiveHandle)
            or handle.live.run.state != "input_required"
            or handle.casting is not None
        ):
            raise RunNotWaiting(f"run {run_id} waits for no answer", run_id=run_id)
        return handle.live

    async def _revive(self, run: Run) -> LiveHandle:
        events = await self._archive.events(run.id)
        handle = self._live.get(run.id)
        if handle is None:
            handle = LiveHandle(
                LiveRun(run, self._archive, self._clock, events=events), forget=self._drop
            )
            self._live[run.id] = handle
        return handle


def _build(project: Project, state: Literal["rocksdb", "memory"], clock: Clock) -> Host:
    settings = project.settings
    limits = settings.limits
    models = Providers(
        default=settings.models.default or _default_model(project.environment),
        roles=settings.models.roles,
        keys=_keys(project),
        api_bases={name: item.api_base for name, item in settings.providers.items()},
        project=project.root,
        clock=clock,
        allow_network=project.allow_network,
        timeout_seconds=settings.models.timeout_seconds,
    )
    project.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    store: Store = plugins.load("stores", state).open(project.state / "db")
    runtime = settings.runtime
    engine: Engine = plugins.load("engines", "lua")(
        isolation=runtime.isolation,
        casts=limits.casts,
        queue=limits.queue,
        idle_workers=runtime.idle_workers,
        max_workers=limits.workers,
        warm_workers=runtime.warm_workers,
        worker_casts=runtime.worker_casts,
        warm_seconds=runtime.warm_seconds,
    )
    load_limits = ScriptLimits(heap_bytes=limits.heap_bytes, slice_seconds=limits.load_seconds)
    book = Spellbook(project, engine, load_limits)
    return Host(project, store, engine, models, book, clock)


def _keys(project: Project) -> dict[str, str]:
    """Return the API keys by provider: settings first, then `NAME_API_KEY` of the environment."""
    keys = {
        name.removesuffix("_API_KEY").lower(): value
        for name, value in project.environment.items()
        if name.endswith("_API_KEY") and value
    }
    for name, item in project.settings.providers.items():
        if item.api_key or item.api_base:
            # A key of the environment is for the provider's own address, and goes to no other.
            keys[name] = project.secret(item.api_key)
    return keys


def _default_model(environment: Mapping[str, str]) -> str:
    """Return the model used where none is set: that of the first provider with a key, or ""."""
    for variable, model in DEFAULT_MODELS:
        if environment.get(variable):
            return model
    return ""
