"""The runs of this process: begun, parked, woken, resumed, answered, forked, left.

A run lives here from its beginning to its end, with or without a cast at work:
a parked one waits for an answer or for an alarm, and one that a dead owner left
is taken up again when the host opens. What a cast does is `runs`' part; which
spell is cast with what, the host's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Literal

from llmspell.clock import Clock
from llmspell.components.schema import Schema
from llmspell.errors import (
    AskInvalid,
    LlmspellError,
    RunCanceled,
    RunError,
    RunInterrupted,
    RunNotFound,
    RunNotWaiting,
    StateError,
)
from llmspell.host.alarms import Alarms
from llmspell.host.handles import LiveHandle, StoredHandle
from llmspell.host.interface import RunHandle
from llmspell.host.keeping import missing_run
from llmspell.runs.casting import Casting
from llmspell.runs.journal import last_number
from llmspell.runs.live import LiveRun
from llmspell.runs.record import Outcome, Question, Run, is_run_id
from llmspell.runs.services import Services
from llmspell.security.principals import Caller
from llmspell.state.store import Durability
from llmspell.values import JSON, Object

log = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0
"""Longest time `close` waits for casts to write down where they stand."""

MAX_RESUMES = 10
"""How often a run is resumed that never gets to its next step: it may be what ends the process."""


class Running:
    """Keeps the runs that have not ended.

    Args:
        prepare: Returns the casting that takes a stored run up again.
        ended: Told of each run that lives here no more.
    """

    def __init__(
        self,
        services: Services,
        clock: Clock,
        prepare: Callable[[LiveRun], Awaitable[Casting]],
        ended: Callable[[Run], None],
    ) -> None:
        self._services = services
        self._archive = services.archive
        self._clock = clock
        self._prepare = prepare
        self._ended = ended
        self._handles: dict[str, LiveHandle] = {}
        self._alarms = Alarms(clock, self._ring)
        self._resuming: dict[str, asyncio.Task[None]] = {}
        self._sleeping: dict[str, str] = {}
        """Parked runs that nobody has opened yet: their tenants, by id."""
        self._closed = False

    @property
    def is_busy(self) -> bool:
        """Whether a cast is under way, or about to be, or has ended and was not looked at yet."""
        return bool(self._resuming) or any(
            handle.task is not None for handle in self._handles.values()
        )

    def next_due(self) -> float | None:
        """Return when the next parked run goes on by itself, or None."""
        return self._alarms.next_due()

    # -- beginning

    def begin(self, casting: Casting) -> LiveHandle:
        """Begin or go on with a cast in a task of its own, and return the handle of its run."""
        run_id = casting.live.run.id
        handle = self._handles.get(run_id) or self._adopt(casting.live)
        handle.casting = casting
        # At once: who is given the handle of an answered question must not find it waiting.
        if casting.live.run.state in ("submitted", "input_required") and not (
            casting.live.run.questions
        ):
            casting.live.enter("working")
        task = asyncio.get_running_loop().create_task(casting.run(), name=run_id)
        casting.task = handle.task = task
        task.add_done_callback(self._left)
        return handle

    def hold(self, live: LiveRun) -> LiveHandle:
        """Keep a run that no cast is at work for: it waits for the choice of a spell, or is new."""
        return self._adopt(live)

    def give_up(self, handle: LiveHandle) -> None:
        """Keep a run no longer that could not be saved."""
        handle.live.abandon()
        self._forget(handle.id)

    def _adopt(self, live: LiveRun) -> LiveHandle:
        handle = self._handles[live.run.id] = LiveHandle(live, self)
        return handle

    def _left(self, task: asyncio.Task[Outcome]) -> None:
        """Look at a run whose task is over: it has ended, was parked or left."""
        handle = self._handles.get(task.get_name())
        if handle is None or handle.task is not task:
            return
        if not task.cancelled() and (failed := task.exception()) is not None:
            log.error("run %s could not be recorded: %s", handle.id, failed)
        run = handle.live.run
        parked = handle.casting is not None and handle.casting.leaving == "parked"
        if run.is_final or not parked or self._closed:
            if not run.is_final:
                handle.live.abandon()
            self._forget(handle.id)
            return
        handle.casting = handle.task = None
        if handle.is_wanted or not (run.questions or run.wake_at):
            self._wake(handle.id, "answer")  # the answer came while it was being parked
        elif run.wake_at is not None:
            self._alarms.set(handle.id, run.wake_at)

    def _forget(self, run_id: str) -> None:
        handle = self._handles.pop(run_id, None)
        self._alarms.forget(run_id)
        if handle is not None:
            self._ended(handle.live.run)

    # -- waiting

    async def wait(self, casting: Casting) -> Outcome:
        """Begin a cast, wait for its end or its first question, and return what came of it.

        When the waiter is cancelled and nobody else has the run, the run stops.
        """
        handle = self.begin(casting)
        return await self.join(handle)

    async def join(self, handle: LiveHandle) -> Outcome:
        """Wait for the end or the next question of a run, as one of those who called it."""
        handle.waiters += 1
        try:
            return await handle.result()
        except asyncio.CancelledError:
            if handle.waiters == 1:
                await asyncio.shield(self.left(handle))
            raise
        finally:
            handle.waiters -= 1

    async def left(self, handle: LiveHandle) -> None:
        """Stop a run that nobody waits for any more, unless somebody has it or it is detached."""
        run = handle.live.run
        if handle.is_given or run.is_final or run.questions:
            return
        try:
            if handle.is_detached:
                handle.is_given = True
                await handle.live.save(Durability.DURABLE)
            else:
                await handle.cancel()
        except RunError as error:  # it ended meanwhile
            log.debug("run %s: %s", handle.id, error)

    # -- finding

    def get(self, run_id: str) -> LiveHandle | None:
        """Return the handle of a run that lives here, or None."""
        return self._handles.get(run_id)

    async def find(self, run_id: str, caller: Caller) -> RunHandle:
        """Return the handle of a run of the caller's tenant and principal.

        Raises:
            RunNotFound: There is none the caller may see.
            RunCollected: It was deleted: it ended too long ago.
        """
        if not is_run_id(run_id):
            raise RunNotFound(f"no run {run_id[:64]!r}")
        handle = self._handles.get(run_id)
        child = self._services.live.get(run_id)
        if handle is not None:
            run = handle.live.run
        elif child is not None:
            run = child.run
        else:
            found = await self._archive.find(caller.tenant, run_id)
            if found is None:
                raise await missing_run(self._archive.store, caller, run_id)
            run = found
        if run.tenant != caller.tenant or run.principal != caller.principal:
            # The same answer as for a run that never was: ids of others are not confirmed.
            raise RunNotFound(f"no run {run_id!r}")
        if handle is not None:
            return handle
        if run.is_final:
            return StoredHandle(run, self._archive)
        handle = LiveHandle(child or await self._opened(run), self)
        if run.parent is None:
            self._handles[run_id] = handle
        return handle

    async def _opened(self, run: Run) -> LiveRun:
        """Return a run of the store as a live one; the same one to everybody."""
        handle = self._handles.get(run.id)
        if handle is not None:
            return handle.live
        live = await self._services.reopen(run.tenant, run.id)
        handle = self._handles.get(run.id)  # somebody else may have opened it during that read
        if handle is not None:
            return handle.live
        if live is None:
            raise RunNotFound(f"no run {run.id!r}")
        return live

    async def save(self) -> None:
        """Write every run that is in the store already as it stands now."""
        for handle in list(self._handles.values()):
            if handle.live.is_saved:
                await handle.live.save()

    # -- going on

    def _ring(self, run_id: str) -> None:
        tenant = self._sleeping.pop(run_id, None)
        if tenant is None or run_id in self._handles:
            self._wake(run_id, "time")
            return
        task = asyncio.get_running_loop().create_task(self._open_and_wake(tenant, run_id))
        self._resuming[run_id] = task

    async def _open_and_wake(self, tenant: str, run_id: str) -> None:
        try:
            run = await self._archive.load(tenant, run_id)
            if run_id not in self._handles:
                self._adopt(await self._opened(run))
        except (RunError, StateError) as error:
            log.error("run %s cannot go on: %s", run_id, error)
            return
        finally:
            self._resuming.pop(run_id, None)
        self._wake(run_id, "time")

    def _wake(self, run_id: str, reason: str) -> None:
        """Take a parked run up again, unless that is being done already."""
        if self._closed or run_id in self._resuming:
            return
        handle = self._handles.get(run_id)
        if handle is None or handle.live.run.is_final:
            return
        if handle.is_at_work:
            # Being parked at this moment it must be woken again; at work it goes on by itself.
            handle.is_wanted = handle.casting is not None and handle.casting.leaving is not None
            return
        self._alarms.forget(run_id)
        task = asyncio.get_running_loop().create_task(self._resume(handle, reason))
        self._resuming[run_id] = task
        task.add_done_callback(lambda _: self._resuming.pop(run_id, None))

    async def _resume(self, handle: LiveHandle, reason: str) -> None:
        live = handle.live
        try:
            live.run.parked, live.run.wake_at = False, None
            handle.is_wanted = False
            casting = await self._prepare(live)
            live.note("resumed", {"reason": reason})
            self.begin(casting)
        except LlmspellError as error:
            log.warning("run %s cannot go on: %s", handle.id, error)
            await self._fail(live, error)
        except Exception as error:  # the run must not be stuck over a fault of ours
            log.exception("run %s cannot go on", handle.id)
            await self._fail(live, RunInterrupted(f"the run cannot go on: {error!r}"))

    async def _fail(self, live: LiveRun, error: LlmspellError) -> None:
        try:
            value = error.with_run(live.run.id).to_value()
            await live.finish("failed", error=value, durability=Durability.DURABLE)
        except (RunError, StateError) as failed:
            log.error("run %s could not be ended: %s", live.run.id, failed)
            live.abandon()
        self._forget(live.run.id)

    async def recover(self) -> None:
        """Take up every run the last owner left: at once, parked ones when their time comes."""
        left = await self._archive.live()
        ids = {run.id for run in left}
        for run in left:
            if run.parent is not None:
                if run.parent not in ids:
                    await self._end_orphan(run)
                continue  # its parent finds it
            if not run.spell and not run.source:
                continue  # it waits for the choice of a spell, and is opened when that comes
            if run.parked and (run.questions or run.wake_at):
                if run.wake_at is not None:
                    self._sleeping[run.id] = run.tenant
                    self._alarms.set(run.id, run.wake_at)
                continue
            await self._take_up(run)

    async def _end_orphan(self, run: Run) -> None:
        events = await self._archive.events(run.id)
        live = LiveRun(run, self._archive, self._clock, events=events)
        await self._fail(live, RunInterrupted(f"the run that began this {run.spell!r} has ended"))

    async def _take_up(self, run: Run) -> None:
        live = await self._opened(run)
        handle = self._handles.get(run.id) or self._adopt(live)
        run = live.run
        number = await last_number(self._archive.store, run.id)
        if number != run.resumed_at:
            run.resumed, run.resumed_at = 0, number
        if run.resumed < MAX_RESUMES:
            run.resumed += 1
            await live.save(Durability.DURABLE)
            self._wake(handle.id, "restart")
            return
        await self._fail(
            live,
            RunInterrupted(
                f"the cast of {run.spell!r} was interrupted {run.resumed} times at the same step",
                hint="see what ends the process: llmspell logs",
            ),
        )

    # -- answers

    async def answer(
        self,
        handle: LiveHandle,
        value: JSON,
        *,
        question: str | None,
        action: Literal["accept", "decline", "cancel"],
    ) -> Run:
        """Answer a question of a run; see `RunHandle.answer`."""
        run = handle.live.run
        found = _question(run, question)
        if action == "cancel":
            return run
        if self._clock.time() >= found.expires_at:
            raise RunNotWaiting(f"run {run.id} waits no more: the question has expired")
        answer: Object = {"action": action, "by": run.principal}
        if action == "accept":
            answer["value"] = _fitting(found, value)
        chain = await self._chain(run.tenant, found.run_id)
        target = chain[0]
        if found.key in target.run.answers or target.run.is_final:
            raise RunNotWaiting(f"run {run.id} was answered already", run_id=run.id)
        target.answer(found.key, answer)
        for live in chain:
            live.settled(found, action, run.principal)
        await target.save_with(chain[1:])
        self._wake(chain[-1].run.id, "answer")
        return run

    async def _chain(self, tenant: str, run_id: str) -> list[LiveRun]:
        """Return a run and all above it, the root last; those of the store are opened."""
        chain: list[LiveRun] = []
        following: str | None = run_id
        while following is not None:
            live = self._services.live.get(following)
            if live is None:
                live = await self._opened(await self._archive.load(tenant, following))
            chain.append(live)
            following = live.run.parent
        root = chain[-1]
        if root.run.id not in self._handles:
            self._adopt(root)
        return chain

    # -- ending

    async def stop(self, handle: LiveHandle) -> None:
        """Record that a run was canceled for which no cast is at work, and all below it."""
        run = handle.live.run
        for child in await self._archive.live():
            if child.parent == run.id and child.id not in self._services.live:
                await self.stop(LiveHandle(await self._opened(child), self))
        error = RunCanceled("the run was canceled").with_run(run.id).to_value()
        await handle.live.finish("canceled", error=error, durability=Durability.DURABLE)
        self._forget(run.id)

    async def close(self) -> None:
        """Leave what is under way as it stands: the next owner goes on with what is saved."""
        self._closed = True
        await self._alarms.close()
        await asyncio.gather(*self._resuming.values(), return_exceptions=True)
        tasks: list[asyncio.Task[Outcome]] = []
        for handle in list(self._handles.values()):
            if handle.casting is not None and handle.task is not None and not handle.task.done():
                handle.casting.leave("suspended")
                tasks.append(handle.task)
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
        for handle in list(self._handles.values()):
            handle.live.abandon()


def _question(run: Run, wanted: str | None) -> Question:
    if not run.questions:
        raise RunNotWaiting(f"run {run.id} waits for no answer", run_id=run.id)
    if wanted is None:
        if len(run.questions) > 1:
            names = ", ".join(f"{item.id} ({item.message})" for item in run.questions)
            raise AskInvalid(
                f"run {run.id} asks several questions",
                hint=f"name one of them: {names}",
                run_id=run.id,
            )
        return run.questions[0]
    for item in run.questions:
        if item.id == wanted:
            return item
    raise RunNotWaiting(f"run {run.id} does not ask {wanted!r}", run_id=run.id)


def _fitting(question: Question, value: JSON) -> JSON:
    """Return an answer as its schema means it.

    Raises:
        AskInvalid: It does not fit.
    """
    fields: Object = question.schema.get("properties") or {}
    if len(fields) == 1 and not isinstance(value, dict):
        value = {next(iter(fields)): value}
    schema = Schema(question.schema)
    value = schema.with_defaults(value)
    problems = schema.problems(value)
    if problems:
        raise AskInvalid(
            "the answer does not fit: " + "; ".join(map(str, problems)),
            data={"errors": [problem.to_value() for problem in problems], "question": question.id},
        )
    return value
