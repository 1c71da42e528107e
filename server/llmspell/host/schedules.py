"""The schedules of a host: what is cast by itself, kept through restarts, kills and moved clocks.

Declared by published spells and by settings; a spell that is not published
has no schedule, and misses nothing meanwhile. What is kept of each (family
SCHEDULE) is written before a cast is begun, and the cast is begun with an
idempotency key made of the time it was due. So a kill at any moment neither
loses a cast nor repeats one.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

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
from llmspell.host.interface import Catalogue, RunHandle, RunPage
from llmspell.schedule import Schedule
from llmspell.security.principals import Caller, local_caller
from llmspell.state.store import Delete, Family, Put, Store
from llmspell.values import JSON, Object, canonical

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 30.0
"""Longest time between two looks at the wall clock: a machine that slept, or whose clock was set,
keeps its schedules this exactly."""

GRACE_SECONDS: Final = 60.0
"""A time that passed no longer ago than this is not missed, only late."""

MAX_WAITING: Final = 100
"""Most casts of one schedule that wait to be begun; the oldest of more are left out."""

_DAY = 86_400.0

_encode = msgspec.msgpack.Encoder().encode


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


class _Due(msgspec.Struct, frozen=True, array_like=True):
    at: float
    waits: bool
    """Whether it waits for the cast before to end, rather than be left out."""


class _State(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is kept of a schedule."""

    when: str
    """The timetable the times below were reckoned with."""
    next_due: float | None = None
    reckoned_to: float | None = None
    """The newest time due that was dealt with."""
    waiting: list[_Due] = []
    last_due: float | None = None
    last_run: str | None = None
    problem: str = ""


_decode = msgspec.msgpack.Decoder(_State).decode


@dataclass(slots=True)
class _Plan:
    id: str
    spell: str
    schedule: Schedule
    caller: Caller
    state: _State | None = None
    recovered: frozenset[float] = frozenset()
    """Times due that waited when an owner died: it may have begun a cast, and not noted so."""
    watched: str = ""
    """The run whose end is waited for."""
    failed: bool = False
    """Whether a cast could not be begun for now and is tried again at the next tick."""


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
        self._plans: dict[str, _Plan] = {}
        self._stale = True
        self._wake = asyncio.Event()
        self._end_listening: Callable[[], None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._watchers: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """Take up every schedule: by now it is known what was missed, and what is due next."""
        self._end_listening = self._host.on_change(self._changed)
        await self._follow(first=True)
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

    async def _guarded(self, plan: _Plan | None, work: Any) -> None:
        what = plan.id if plan else "the schedules"
        try:
            await work
        except StateError as error:
            self._again(plan)
            log.warning("schedule %s: %s; tried again soon", what, error)
        except Exception:  # one schedule's trouble must not end the others
            self._again(plan)
            log.exception("schedule %s failed; tried again soon", what)

    def _again(self, plan: _Plan | None) -> None:
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
        wanted = {plan.id: plan for plan in self._wanted()}
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

    def _wanted(self) -> Iterator[_Plan]:
        here = local_caller("schedule").at("schedule", session="schedule")
        for published in self._host.catalogue().spells:
            schedule = self._declared(published.name)
            if schedule is not None:
                yield _Plan(f"spell:{published.name}", published.name, schedule, here)
        for item in self._configured:
            caller = Caller(
                principal=item.principal or here.principal, session="schedule", door="schedule"
            )
            yield _Plan(f"settings:{item.name or _named(item)}", item.spell, item, caller)

    async def _reckon(self, plan: _Plan) -> None:
        """Read what is kept of a schedule; begin from now where the timetable is another."""
        when = str(plan.schedule.timetable)
        state = plan.state
        if state is None:
            entry = await self._store.get(Family.SCHEDULE, (plan.id,))
            if entry is not None:
                state = _decode(entry.value)
                plan.recovered = frozenset(due.at for due in state.waiting)
        if state is None or state.when != when:
            kept = state or _State(when=when)
            state = msgspec.structs.replace(
                kept,
                when=when,
                next_due=plan.schedule.timetable.after(self._clock.time()),
                reckoned_to=None,
            )
            await self._save(plan, state)
        plan.state = state

    async def _save(self, plan: _Plan, state: _State) -> None:
        await self._store.commit([Put(Family.SCHEDULE, (plan.id,), _encode(state))])
        plan.state = state

    # -- one schedule

    async def _serve(self, plan: _Plan) -> None:
        """Note what has become due since the last look, then begin what waits."""
        plan.failed = False
        assert plan.state is not None  # `_follow` reads it before it knows the plan
        await self._note_due(plan, plan.state, self._clock.time())
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

    async def _note_due(self, plan: _Plan, state: _State, now: float) -> None:
        timetable = plan.schedule.timetable
        if state.reckoned_to is not None and state.reckoned_to > now + _DAY:
            # The clock was far ahead, and has been put right since.
            restarted = msgspec.structs.replace(
                state, next_due=timetable.after(now), reckoned_to=None
            )
            await self._save(plan, restarted)
            return
        first = state.next_due
        if first is None or first > now:
            return
        dues = timetable.newest(first, now, MAX_WAITING + 1)
        schedule = plan.schedule
        last = dues[-1]
        is_late = now - last > GRACE_SECONDS
        if schedule.missed == "all":
            chosen = dues
        elif schedule.missed == "skip" and is_late:
            chosen = []
        else:
            chosen = [last]
        # Told to make up for every time, it makes them up one after the other.
        makes_up = schedule.missed == "all" and (is_late or len(dues) > 1)
        waits = schedule.overlap == "queue" or makes_up
        if state.waiting and schedule.overlap == "skip" and not waits:
            chosen = []  # the cast before has not even begun
        accepted = [_Due(due, waits) for due in chosen]
        waiting = [*state.waiting, *accepted]
        if len(waiting) > MAX_WAITING:
            log.warning("schedule %s: %d casts left out", plan.id, len(waiting) - MAX_WAITING)
            waiting = waiting[-MAX_WAITING:]
        noted = msgspec.structs.replace(
            state,
            waiting=waiting,
            next_due=timetable.after(now, last=last),
            reckoned_to=last,
        )
        if not chosen:
            noted.problem = "it was left out, as its schedule says"
        await self._save(plan, noted)

    async def _start(self, plan: _Plan, due: _Due) -> None:
        failpoints.hit("schedule.before_start")
        try:
            handle = await self._host.start(
                plan.spell,
                dict(plan.schedule.input),
                caller=plan.caller,
                key=_key(plan, due),
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
        self, plan: _Plan, due: _Due, *, run_id: str | None = None, problem: str = ""
    ) -> None:
        assert plan.state is not None
        state = msgspec.structs.replace(
            plan.state,
            waiting=[other for other in plan.state.waiting if other != due],
            problem=problem,
        )
        if not problem:
            state.last_due, state.last_run = due.at, run_id
        await self._save(plan, state)

    async def _begun(self, plan: _Plan, due: _Due) -> str | None:
        """Return the run that an owner before this one began for a time due, if it did.

        The idempotency key says so too, but only for as long as it is kept.
        """
        key, after = _key(plan, due), None
        while True:
            page = await self._host.runs(
                caller=plan.caller,
                session=plan.caller.session,
                updated_after=due.at - _DAY,
                limit=500,
                after=after,
            )
            found = next((run.id for run in page.runs if run.key == key), None)
            if found is not None or page.next is None:
                return found
            after = page.next

    async def _under_way(self, plan: _Plan) -> bool:
        last = plan.state.last_run if plan.state else None
        if last is None:
            return False
        try:
            handle = await self._host.run(last, caller=plan.caller)
        except (RunNotFound, RunCollected):
            return False
        return not (await handle.record()).is_final

    def _watch(self, plan: _Plan) -> None:
        """Look again as soon as the last cast of a schedule has ended."""
        run_id = plan.state.last_run if plan.state else None
        if run_id is None or plan.watched == run_id:
            return
        plan.watched = run_id
        task = asyncio.get_running_loop().create_task(self._wait_for(run_id, plan))
        self._watchers.add(task)
        task.add_done_callback(self._watchers.discard)

    async def _wait_for(self, run_id: str, plan: _Plan) -> None:
        try:
            handle = await self._host.run(run_id, caller=plan.caller)
            async for _ in handle.events():
                pass
        except LlmspellError as error:  # the tick looks as well, only later
            log.debug("schedule %s: %s", plan.id, error)
        plan.watched = ""
        self._wake.set()


def _key(plan: _Plan, due: _Due) -> str:
    return f"schedule:{plan.id}:{due.at:.3f}"


def _named(item: ScheduleSettings) -> str:
    """Return a name for a schedule of the settings that has none: the same while it is the same."""
    parts: Object = item.model_dump(exclude={"missed", "overlap", "name"})
    return f"{item.spell}-{hashlib.sha256(canonical(parts)).hexdigest()[:8]}"
