"""The schedules of a host: what is cast by itself, kept through restarts, kills and moved clocks.

Declared by published spells and by settings; a spell that is not published
has no schedule, and misses nothing meanwhile. What is kept of each (family
SCHEDULE) is written before a cast is begun, and the cast is begun with an
idempotency key made of the time it was due. So a kill at any moment neither
loses a cast nor repeats one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from llmspell import failpoints
from llmspell.clock import Clock
from llmspell.config import ScheduleSettings
from llmspell.errors import (
    IdempotencyConflict,
    InternalError,
    LlmspellError,
    RunCollected,
    RunNotFound,
    StateError,
)
from llmspell.host.catalogue import Catalogue
from llmspell.host.run_interface import RunHandle, RunPage
from llmspell.host.schedule_plans import Plan, plans_of
from llmspell.host.schedule_state import (
    DAY,
    Due,
    ScheduleState,
    decode_state,
    done,
    encode_state,
    reckoned,
    restarted,
)
from llmspell.schedule import Schedule
from llmspell.security.principals import Caller
from llmspell.state.store import Delete, Family, Put, Store
from llmspell.values import JSON

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 30.0
"""Longest time between two looks at the wall clock: a machine that slept, or whose clock was set,
keeps its schedules this exactly."""

MAX_KEPT: Final = 10_000
"""Schedules whose state is looked at when those that are gone are forgotten."""


class Caster(Protocol):
    """What schedules need of a host."""

    def catalogue(self) -> Catalogue:
        """Return what is published now."""
        ...

    def on_change(self, listener: Callable[[Catalogue], None]) -> Callable[[], None]:
        """Call `listener` after each change of the catalogue; return what ends that."""
        ...

    async def start(
        self, name: str, input: JSON, *, caller: Caller | None = None, key: str | None = None
    ) -> RunHandle:
        """As `HostInterface.start`."""
        ...

    async def run(self, run_id: str, *, caller: Caller) -> RunHandle:
        """As `HostInterface.run`."""
        ...

    async def runs(
        self,
        *,
        caller: Caller,
        session: str | None = None,
        updated_after: float | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> RunPage:
        """As `HostInterface.runs`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """A schedule as it stands, for showing."""

    id: str
    spell: str
    when: str
    next_due: float | None
    """Unix time; None = never again."""
    last_due: float | None
    """The last time that a cast was begun for."""
    last_run: str | None
    waiting: int
    """Casts that are due and not begun yet."""
    problem: str = ""
    """Why the last time due brought no cast."""


class Schedules:
    """Casts what is due. `begin` once the host can cast, `close` before it cannot any more.

    Args:
        host: What casts.
        declared: The schedule that a published spell declares, or None.
        configured: The schedules of the settings.
    """

    def __init__(
        self,
        host: Caster,
        store: Store,
        clock: Clock,
        *,
        declared: Callable[[str], Schedule | None],
        configured: Sequence[ScheduleSettings] = (),
    ) -> None:
        self._host = host
        self._store = store
        self._clock = clock
        self._declared = declared
        self._configured = configured
        self._plans: dict[str, Plan] = {}
        self._stale = True
        self._wake = asyncio.Event()
        self._end_listening: Callable[[], None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._watchers: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """Take up every schedule: by now it is known what was missed, and what is due next."""
        self._end_listening = self._host.on_change(self._changed)
        await self._follow(first=True)
        await self._forget_others()
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        """Begin no more casts. Those begun go on. Closing twice is no error."""
        if self._end_listening is not None:
            self._end_listening()
            self._end_listening = None
        tasks = [task for task in (self._task, *self._watchers) if task is not None]
        self._task = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def next_due(self) -> float | None:
        """Return when the next cast is due, Unix time; None when nothing is scheduled."""
        return min(self._times(), default=None)

    def listing(self) -> list[Scheduled]:
        """Return every schedule as it stands, the next one due first."""
        found = [
            Scheduled(
                id=plan.id,
                spell=plan.spell,
                when=str(plan.schedule.timetable),
                next_due=plan.state.next_due,
                last_due=plan.state.last_due,
                last_run=plan.state.last_run,
                waiting=len(plan.state.waiting),
                problem=plan.state.problem,
            )
            for plan in self._plans.values()
            if plan.state is not None
        ]
        return sorted(found, key=lambda item: (item.next_due is None, item.next_due or 0, item.id))

    # -- the one task

    async def _keep(self) -> None:
        while True:
            self._wake.clear()
            if self._stale:
                await self._guarded(None, self._follow(first=False))
            for plan in list(self._plans.values()):
                await self._guarded(plan, self._serve(plan))
            try:
                async with self._clock.timeout(self._pause()):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _pause(self) -> float | None:
        """Return how long to wait for the next look; None = until something changes."""
        plans = self._plans.values()
        if self._stale or any(plan.failed for plan in plans):
            return TICK_SECONDS
        due = self.next_due()
        if due is not None:
            return min(TICK_SECONDS, max(0.0, due - self._clock.time()))
        waiting = any(plan.state is not None and plan.state.waiting for plan in plans)
        return TICK_SECONDS if waiting else None

    async def _guarded(self, plan: Plan | None, work: Any) -> None:
        what = plan.id if plan else "the schedules"
        try:
            await work
        except StateError as error:
            self._again(plan)
            log.warning("schedule %s: %s; tried again soon", what, error)
        except Exception:  # one schedule's trouble must not end the others
            self._again(plan)
            log.exception("schedule %s failed; tried again soon", what)

    def _again(self, plan: Plan | None) -> None:
        if plan is None:
            self._stale = True
        else:
            plan.failed = True

    def _times(self) -> Iterator[float]:
        for plan in self._plans.values():
            if plan.state is not None and plan.state.next_due is not None:
                yield plan.state.next_due

    def _changed(self, catalogue: Catalogue) -> None:
        del catalogue
        self._stale = True
        self._wake.set()

    # -- which schedules there are

    async def _follow(self, *, first: bool) -> None:
        """Take up new and changed schedules, and forget those that are gone."""
        self._stale = False
        plans = plans_of(self._host.catalogue(), self._declared, self._configured)
        wanted = {plan.id: plan for plan in plans}
        for gone in [plan for plan in self._plans if plan not in wanted]:
            await self._store.commit([Delete(Family.SCHEDULE, (gone,))])
            del self._plans[gone]
        for plan_id, plan in wanted.items():
            old = self._plans.get(plan_id)
            if old is not None:
                old.spell, old.schedule, old.caller = plan.spell, plan.schedule, plan.caller
                plan = old
            elif not first:
                # It was not published until now, so it missed nothing.
                await self._store.commit([Delete(Family.SCHEDULE, (plan_id,))])
            await self._reckon(plan)
            self._plans[plan_id] = plan

    async def _forget_others(self) -> None:
        """Delete what is kept of schedules that are gone: back again, they have missed nothing."""
        for key, _ in await self._store.scan(Family.SCHEDULE, (), limit=MAX_KEPT):
            if key[0] not in self._plans:
                await self._store.commit([Delete(Family.SCHEDULE, key)])

    async def _reckon(self, plan: Plan) -> None:
        """Read what is kept of a schedule; begin from now where the timetable is another."""
        state = plan.state
        if state is None:
            entry = await self._store.get(Family.SCHEDULE, (plan.id,))
            if entry is not None:
                state = decode_state(entry.value)
                plan.recovered = frozenset(due.at for due in state.waiting)
        if state is None or state.when != str(plan.schedule.timetable):
            state = restarted(state, plan.schedule, self._clock.time())
            await self._save(plan, state)
        plan.state = state

    async def _save(self, plan: Plan, state: ScheduleState) -> None:
        await self._store.commit([Put(Family.SCHEDULE, (plan.id,), encode_state(state))])
        plan.state = state

    # -- one schedule

    async def _serve(self, plan: Plan) -> None:
        """Note what has become due since the last look, then begin what waits."""
        plan.failed = False
        assert plan.state is not None  # `_follow` reads it before it knows the plan
        state, left_out = reckoned(plan.state, plan.schedule, self._clock.time())
        if left_out:
            log.warning("schedule %s: %d casts left out", plan.id, left_out)
        if state is not plan.state:
            await self._save(plan, state)
        while plan.state.waiting:
            due = plan.state.waiting[0]
            known = await self._begun(plan, due) if due.at in plan.recovered else None
            if known is not None:
                await self._done(plan, due, run_id=known)
            elif plan.schedule.overlap == "parallel" or not await self._under_way(plan):
                await self._start(plan, due)
            elif due.waits:
                self._watch(plan)
                return
            else:
                await self._done(plan, due, problem="the cast before had not ended")

    async def _start(self, plan: Plan, due: Due) -> None:
        failpoints.hit("schedule.before_start")
        try:
            handle = await self._host.start(
                plan.spell,
                dict(plan.schedule.input),
                caller=plan.caller,
                key=plan.key(due),
            )
        except IdempotencyConflict as error:
            # It was begun before a restart, with what its schedule gave it then.
            await self._done(plan, due, run_id=error.data.get("run_id"))
            return
        except LlmspellError as error:
            if error.retryable or isinstance(error, InternalError):
                raise
            log.warning("schedule %s: nothing was cast: %s", plan.id, error)
            await self._done(plan, due, problem=f"{error.message} {{code: {error.code}}}")
            return
        failpoints.hit("schedule.after_start")
        await self._done(plan, due, run_id=handle.id)

    async def _done(
        self, plan: Plan, due: Due, *, run_id: str | None = None, problem: str = ""
    ) -> None:
        assert plan.state is not None  # it is being served
        await self._save(plan, done(plan.state, due, run_id=run_id, problem=problem))

    async def _begun(self, plan: Plan, due: Due) -> str | None:
        """Return the run that an owner before this one began for a time due, if it did.

        The idempotency key says so too, but only for as long as it is kept.
        """
        key, after = plan.key(due), None
        while True:
            page = await self._host.runs(
                caller=plan.caller,
                session=plan.caller.session,
                updated_after=due.at - DAY,
                limit=500,
                after=after,
            )
            found = next((run.id for run in page.runs if run.key == key), None)
            if found is not None or page.next is None:
                return found
            after = page.next

    async def _under_way(self, plan: Plan) -> bool:
        last = plan.state.last_run if plan.state else None
        if last is None:
            return False
        try:
            handle = await self._host.run(last, caller=plan.caller)
        except (RunNotFound, RunCollected):
            return False
        return not (await handle.record()).is_final

    def _watch(self, plan: Plan) -> None:
        """Look again as soon as the last cast of a schedule has ended."""
        run_id = plan.state.last_run if plan.state else None
        if run_id is None or plan.watched == run_id:
            return
        plan.watched = run_id
        task = asyncio.get_running_loop().create_task(self._wait_for(run_id, plan))
        self._watchers.add(task)
        task.add_done_callback(self._watchers.discard)

    async def _wait_for(self, run_id: str, plan: Plan) -> None:
        try:
            handle = await self._host.run(run_id, caller=plan.caller)
            async for _ in handle.events():
                pass
        except LlmspellError as error:  # the tick looks as well, only later
            log.debug("schedule %s: %s", plan.id, error)
        plan.watched = ""
        self._wake.set()
