"""Schedules: what is cast when, over restarts, kills, slow casts and clocks that are set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
import pytest_asyncio

from llmspell import failpoints
from llmspell.clock import ManualClock
from llmspell.config import ScheduleSettings
from llmspell.errors import InputInvalid, LimitBusy, LlmspellError, RunNotFound, StateDiskFull
from llmspell.host.catalogue import Catalogue, Published
from llmspell.host.run_interface import RunHandle, RunPage
from llmspell.host.schedules import TICK_SECONDS, Scheduled, Schedules
from llmspell.runs.record import Event, Outcome, Run, new_run_id, outcome_of
from llmspell.schedule import Schedule
from llmspell.security.principals import Caller, local_caller
from llmspell.state.memory import MemoryStore
from llmspell.state.store import Store
from llmspell.values import JSON

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
START = datetime(2026, 5, 1, 6, 0, tzinfo=UTC).timestamp()


class Begun:
    """A run that lasts until it is told to end."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.id = run.id
        self._ended = asyncio.Event()

    def end(self) -> None:
        self.run.state = "completed"
        self._ended.set()

    async def record(self) -> Run:
        return self.run

    async def events(self, after: int = 0, *, until_pause: bool = False) -> AsyncIterator[Event]:
        for number in ():
            yield number
        await self._ended.wait()

    async def result(self) -> Outcome:
        await self._ended.wait()
        return outcome_of(self.run)

    async def cancel(self) -> Run:
        self.end()
        return self.run

    async def answer(
        self,
        value: JSON,
        *,
        question: str | None = None,
        action: Literal["accept", "decline", "cancel"] = "accept",
    ) -> Run:
        raise NotImplementedError


class Caster:
    """Casts nothing, and remembers what it was told to. Keys count as a host's do."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.spells: dict[str, Schedule] = {}
        self.begun: list[Begun] = []
        self.failure: LlmspellError | None = None
        self.keeps_keys = True
        self.at_once = True
        """Whether a run ends as soon as it is begun."""
        self._listeners: list[Callable[[Catalogue], None]] = []
        self._generation = 0

    def publish(self, **spells: Schedule) -> None:
        self.spells = spells
        self._generation += 1
        for listener in self._listeners:
            listener(self.catalogue())

    def catalogue(self) -> Catalogue:
        return Catalogue(self._generation, tuple(Published(name=name) for name in self.spells))

    def on_change(self, listener: Callable[[Catalogue], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def start(
        self, name: str, input: JSON, *, caller: Caller | None = None, key: str | None = None
    ) -> RunHandle:
        assert caller is not None
        assert key is not None
        if self.failure is not None:
            raise self.failure
        for old in self.begun:
            if self.keeps_keys and old.run.key == key:
                return old
        now = self.clock.time()
        run = Run(
            id=new_run_id(now),
            tenant=caller.tenant,
            principal=caller.principal,
            session=caller.session,
            door=caller.door,
            spell=name,
            input=input,
            state="working",
            key=key,
            created_at=now,
            updated_at=now,
        )
        self.begun.append(Begun(run))
        if self.at_once:
            self.begun[-1].end()
        return self.begun[-1]

    async def run(self, run_id: str, *, caller: Caller) -> RunHandle:
        for begun in self.begun:
            if begun.id == run_id:
                return begun
        raise RunNotFound(run_id)

    async def runs(
        self,
        *,
        caller: Caller,
        session: str | None = None,
        updated_after: float | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> RunPage:
        found = [begun.run for begun in self.begun if begun.run.session == session]
        return RunPage(runs=found, next=None, total=len(found))

    def times(self) -> list[str]:
        """When casts were begun."""
        return [text(begun.run.created_at) for begun in self.begun]


def text(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%d %H:%M")


class World:
    """A store and a clock that outlive owners, and a host that casts."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.store: Store = MemoryStore.open("", clock=self.clock)
        self.caster = Caster(self.clock)
        self.configured: Sequence[ScheduleSettings] = ()

    @asynccontextmanager
    async def owner(self) -> AsyncGenerator[Schedules]:
        schedules = Schedules(
            self.caster,
            self.store,
            self.clock,
            declared=self._declared,
            configured=self.configured,
        )
        await schedules.begin()
        try:
            await settle()
            yield schedules
        finally:
            await schedules.close()

    def _declared(self, name: str) -> Schedule | None:
        return self.caster.spells.get(name)

    async def pass_(self, seconds: float) -> None:
        """Let time pass as it does: the schedules are asked whenever they want to be."""
        await self.clock.advance(seconds)
        await settle()

    def jump(self, seconds: float) -> None:
        """Set the clock, as waking from sleep does: nobody was asked meanwhile."""
        self.clock.step(seconds)


async def settle() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    async with asyncio.timeout(20):
        yield made
    await made.store.close()


def daily(**options: Any) -> Schedule:
    return Schedule(cron="0 7 * * *", **options)


def every(minutes: int, **options: Any) -> Schedule:
    return Schedule(every=minutes * MINUTE, **options)


def only(schedules: Schedules) -> Scheduled:
    [found] = schedules.listing()
    return found


async def test_a_spell_is_cast_at_its_time_by_the_local_user(world: World) -> None:
    world.caster.publish(report=daily(input={"days": 1}))
    async with world.owner() as schedules:
        assert schedules.next_due() == START + HOUR
        await world.pass_(HOUR - 1)
        assert world.caster.begun == []
        await world.pass_(1)
        [begun] = world.caster.begun
        assert begun.run.spell == "report"
        assert begun.run.input == {"days": 1}
        assert (begun.run.principal, begun.run.door, begun.run.session) == (
            local_caller().principal,
            "schedule",
            "schedule",
        )
        await world.pass_(2 * DAY)
        assert world.caster.times() == ["01 07:00", "02 07:00", "03 07:00"]
        assert len({begun.run.key for begun in world.caster.begun}) == 3


async def test_settings_cast_a_spell_as_the_principal_they_name(world: World) -> None:
    world.configured = [
        ScheduleSettings(spell="sweep", every=600, principal="robot", input={"n": 1}),
        ScheduleSettings(spell="sweep", every=600),
    ]
    async with world.owner() as schedules:
        assert len({item.id for item in schedules.listing()}) == 2
        await world.pass_(10 * MINUTE)
        assert {begun.run.principal for begun in world.caster.begun} == {
            "robot",
            local_caller().principal,
        }


async def test_a_restart_changes_nothing_of_an_interval(world: World) -> None:
    world.caster.publish(sweep=every(10))
    async with world.owner():
        await world.pass_(15 * MINUTE)
    await world.pass_(2 * MINUTE)
    async with world.owner():
        await world.pass_(15 * MINUTE)
    assert world.caster.times() == ["01 06:10", "01 06:20", "01 06:30"]


@pytest.mark.parametrize(
    ("missed", "times"),
    [
        ("once", ["04 12:00", "05 07:00"]),
        ("skip", ["05 07:00"]),
        ("all", ["04 12:00", "04 12:00", "04 12:00", "04 12:00", "05 07:00"]),
    ],
)
async def test_what_was_missed_while_nothing_ran_is_made_up_for_as_declared(
    world: World, missed: Any, times: list[str]
) -> None:
    world.caster.publish(report=daily(missed=missed))
    async with world.owner():
        pass
    await world.pass_(3 * DAY + 6 * HOUR)
    async with world.owner():
        await world.pass_(DAY)
    assert world.caster.times() == times


async def test_a_machine_that_slept_for_days_casts_once_soon_after_it_woke(world: World) -> None:
    world.caster.publish(report=daily())
    async with world.owner() as schedules:
        world.jump(3 * DAY + 6 * HOUR)
        await world.pass_(TICK_SECONDS)
        assert world.caster.times() == ["04 12:00"]
        assert schedules.next_due() == datetime(2026, 5, 5, 7, tzinfo=UTC).timestamp()


async def test_a_little_late_is_not_missed(world: World) -> None:
    world.caster.publish(report=daily(missed="skip"))
    async with world.owner():
        world.jump(HOUR + 20)
        await world.pass_(TICK_SECONDS)
        assert world.caster.times() == ["01 07:00"]


async def test_a_clock_set_back_an_hour_repeats_nothing(world: World) -> None:
    world.caster.publish(report=daily())
    async with world.owner():
        await world.pass_(HOUR + MINUTE)
        world.jump(-HOUR)
        await world.pass_(2 * HOUR)
        assert world.caster.times() == ["01 07:00"]


async def test_a_clock_that_was_a_year_ahead_does_not_silence_a_schedule_for_a_year(
    world: World,
) -> None:
    world.caster.publish(report=daily())
    async with world.owner() as schedules:
        world.jump(365 * DAY)
        await world.pass_(TICK_SECONDS)
        assert len(world.caster.begun) == 1
        world.jump(-365 * DAY)
        await world.pass_(TICK_SECONDS)
        assert schedules.next_due() == START + HOUR
        await world.pass_(HOUR)
        assert len(world.caster.begun) == 2


async def test_a_cast_is_left_out_while_the_one_before_goes_on(world: World) -> None:
    world.caster.publish(sweep=every(10))
    world.caster.at_once = False
    async with world.owner() as schedules:
        await world.pass_(25 * MINUTE)
        assert world.caster.times() == ["01 06:10"]
        assert only(schedules).problem == "the cast before had not ended"
        world.caster.begun[0].end()
        await world.pass_(10 * MINUTE)
        assert world.caster.times() == ["01 06:10", "01 06:30"]


async def test_queued_casts_begin_one_after_the_other_as_soon_as_each_has_ended(
    world: World,
) -> None:
    world.caster.publish(sweep=every(10, overlap="queue"))
    world.caster.at_once = False
    async with world.owner() as schedules:
        await world.pass_(35 * MINUTE)
        assert (len(world.caster.begun), only(schedules).waiting) == (1, 2)
        for number in (1, 2):
            world.caster.begun[-1].end()
            await settle()
            assert len(world.caster.begun) == number + 1
        assert only(schedules).waiting == 0
        assert [begun.run.key[-14:] for begun in world.caster.begun] == [
            f"{START + minutes * MINUTE:.3f}" for minutes in (10, 20, 30)
        ]


async def test_parallel_casts_do_not_wait(world: World) -> None:
    world.caster.publish(sweep=every(10, overlap="parallel"))
    world.caster.at_once = False
    async with world.owner():
        await world.pass_(30 * MINUTE)
        assert world.caster.times() == ["01 06:10", "01 06:20", "01 06:30"]


async def test_all_that_was_missed_is_made_up_for_one_after_the_other(world: World) -> None:
    world.caster.publish(sweep=every(10, missed="all"))
    world.caster.at_once = False
    async with world.owner():
        pass
    await world.pass_(35 * MINUTE)
    async with world.owner():
        assert len(world.caster.begun) == 1
        world.caster.begun[0].end()
        await settle()
        assert len(world.caster.begun) == 2
        # Meanwhile nothing is added to what waits: the schedule says to skip.
        await world.pass_(10 * MINUTE)
        for begun in world.caster.begun:
            begun.end()
        await settle()
        assert len(world.caster.begun) == 3
        world.caster.begun[-1].end()
        await world.pass_(10 * MINUTE)
        assert len(world.caster.begun) == 4


async def test_a_run_that_was_deleted_has_ended(world: World) -> None:
    world.caster.publish(sweep=every(10))
    world.caster.at_once = False
    async with world.owner():
        await world.pass_(10 * MINUTE)
        world.caster.begun.clear()
        await world.pass_(10 * MINUTE)
        assert world.caster.times() == ["01 06:20"]


@pytest.mark.parametrize("point", ["schedule.before_start", "schedule.after_start"])
@pytest.mark.parametrize("away", [0.0, 40 * DAY])
async def test_an_owner_that_dies_over_a_cast_neither_loses_nor_repeats_it(
    world: World, point: str, away: float
) -> None:
    world.caster.publish(report=Schedule(cron="0 7 1 5 *"))
    failpoints.arm(f"{point}:error")
    try:
        async with world.owner():
            await world.pass_(HOUR)
    finally:
        failpoints.arm("")
    begun = len(world.caster.begun)
    assert begun == (point == "schedule.after_start")
    await world.pass_(away)
    if away:  # longer than a host keeps keys
        world.caster.keeps_keys = False
    async with world.owner() as schedules:
        assert len(world.caster.begun) == 1
        assert only(schedules).last_run == world.caster.begun[0].id
        assert only(schedules).waiting == 0


async def test_a_spell_that_is_no_longer_published_is_no_longer_cast(world: World) -> None:
    world.caster.publish(sweep=every(10))
    async with world.owner() as schedules:
        await world.pass_(10 * MINUTE)
        world.caster.publish()
        await settle()
        assert schedules.next_due() is None
        await world.pass_(HOUR)
        world.caster.publish(sweep=every(10))
        await settle()
        # What passed meanwhile was not missed.
        assert len(world.caster.begun) == 1
        assert schedules.next_due() == world.clock.time() + 10 * MINUTE


async def test_a_changed_timetable_counts_from_its_change(world: World) -> None:
    world.caster.publish(sweep=every(10))
    async with world.owner() as schedules:
        await world.pass_(5 * MINUTE)
        world.caster.publish(sweep=every(20, input={"n": 2}))
        await settle()
        assert schedules.next_due() == START + 25 * MINUTE
        await world.pass_(20 * MINUTE)
        assert [begun.run.input for begun in world.caster.begun] == [{"n": 2}]


async def test_a_spell_that_was_gone_when_an_owner_began_has_missed_nothing_when_it_is_back(
    world: World,
) -> None:
    world.caster.publish(report=daily(missed="all"))
    async with world.owner():
        pass
    world.caster.publish()
    async with world.owner() as schedules:
        assert schedules.listing() == []
    world.jump(3 * 24 * HOUR)
    world.caster.publish(report=daily(missed="all"))
    async with world.owner():
        assert not world.caster.begun


async def test_another_input_leaves_the_times_alone(world: World) -> None:
    world.caster.publish(sweep=every(10))
    async with world.owner() as schedules:
        await world.pass_(5 * MINUTE)
        world.caster.publish(sweep=every(10, input={"n": 2}))
        await settle()
        assert schedules.next_due() == START + 10 * MINUTE


async def test_a_cast_that_can_never_be_begun_is_told_and_left_out(world: World) -> None:
    world.caster.publish(sweep=every(10))
    world.caster.failure = InputInvalid("no such field")
    async with world.owner() as schedules:
        await world.pass_(10 * MINUTE)
        assert only(schedules).problem == "no such field {code: input.invalid}"
        world.caster.failure = None
        await world.pass_(10 * MINUTE)
        assert world.caster.times() == ["01 06:20"]
        assert only(schedules).problem == ""


@pytest.mark.parametrize("failure", [LimitBusy("busy"), StateDiskFull("full")])
async def test_a_cast_that_cannot_be_begun_now_is_begun_soon(
    world: World, failure: LlmspellError
) -> None:
    world.caster.publish(report=daily())
    world.caster.failure = failure
    async with world.owner():
        await world.pass_(HOUR)
        world.caster.failure = None
        await world.pass_(TICK_SECONDS)
        assert world.caster.times() == ["01 07:00"]
        await world.pass_(HOUR)
        assert len(world.caster.begun) == 1


async def test_without_schedules_nothing_is_due_and_nobody_looks_at_the_clock(
    world: World,
) -> None:
    async with world.owner() as schedules:
        assert schedules.next_due() is None
        assert schedules.listing() == []
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await world.clock.sleeper()


async def test_closing_twice_is_no_error(world: World) -> None:
    async with world.owner() as schedules:
        await schedules.close()
