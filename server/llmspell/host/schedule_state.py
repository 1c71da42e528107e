"""What is kept of a schedule (family SCHEDULE), and how it follows from the clock.

Reckoning only: nothing here reads a store, waits or casts. That is `host.schedules`' part.
"""

from __future__ import annotations

from typing import Final

import msgspec

from llmspell.schedule import Schedule

GRACE_SECONDS: Final = 60.0
"""A time that passed no longer ago than this is not missed, only late."""

MAX_WAITING: Final = 100
"""Most casts of one schedule that wait to be begun; the oldest of more are left out."""

DAY: Final = 86_400.0

LEFT_OUT: Final = "it was left out, as its schedule says"


class Due(msgspec.Struct, frozen=True, array_like=True):
    """A time for which a cast is to be begun."""

    at: float
    waits: bool
    """Whether it waits for the cast before to end, rather than be left out."""


class ScheduleState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of one schedule."""

    when: str
    """The timetable the times below were reckoned with."""
    next_due: float | None = None
    reckoned_to: float | None = None
    """The newest time due that was dealt with."""
    waiting: list[Due] = []
    last_due: float | None = None
    last_run: str | None = None
    problem: str = ""


encode_state = msgspec.msgpack.Encoder().encode
decode_state = msgspec.msgpack.Decoder(ScheduleState).decode


def restarted(state: ScheduleState | None, schedule: Schedule, now: float) -> ScheduleState:
    """Return the state of a schedule whose timetable counts from now on."""
    when = str(schedule.timetable)
    return msgspec.structs.replace(
        state or ScheduleState(when=when),
        when=when,
        next_due=schedule.timetable.after(now),
        reckoned_to=None,
    )


def reckoned(state: ScheduleState, schedule: Schedule, now: float) -> tuple[ScheduleState, int]:
    """Return the state with what became due by now, and how many casts too many were left out.

    The very same state when nothing did.
    """
    timetable = schedule.timetable
    if state.reckoned_to is not None and state.reckoned_to > now + DAY:
        # The clock was far ahead, and has been put right since.
        return restarted(state, schedule, now), 0
    first = state.next_due
    if first is None or first > now:
        return state, 0
    dues = timetable.newest(first, now, MAX_WAITING + 1)
    last = dues[-1]
    chosen = _chosen(state, schedule, dues, now)
    waiting = [*state.waiting, *chosen]
    noted = msgspec.structs.replace(
        state,
        waiting=waiting[-MAX_WAITING:],
        next_due=timetable.after(now, last=last),
        reckoned_to=last,
        problem=state.problem if chosen else LEFT_OUT,
    )
    return noted, max(0, len(waiting) - MAX_WAITING)


def _chosen(state: ScheduleState, schedule: Schedule, dues: list[float], now: float) -> list[Due]:
    """Return for which of the times due a cast is to be begun."""
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
    return [Due(due, waits) for due in chosen]


def done(
    state: ScheduleState, due: Due, *, run_id: str | None = None, problem: str = ""
) -> ScheduleState:
    """Return the state after a time due was dealt with: a run was begun, or why none was."""
    waiting = [other for other in state.waiting if other != due]
    if problem:
        return msgspec.structs.replace(state, waiting=waiting, problem=problem)
    return msgspec.structs.replace(
        state, waiting=waiting, problem="", last_due=due.at, last_run=run_id
    )
