"""Which schedules there are: those that published spells declare, and those of the settings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from llmspell.config import ScheduleSettings
from llmspell.host.catalogue import Catalogue
from llmspell.host.schedule_state import Due, ScheduleState
from llmspell.schedule import Schedule
from llmspell.security.principals import Caller, local_caller
from llmspell.values import Object, canonical


@dataclass(slots=True)
class Plan:
    """One schedule: what is cast when, for whom, and how that stands."""

    id: str
    spell: str
    schedule: Schedule
    caller: Caller
    state: ScheduleState | None = None
    recovered: frozenset[float] = frozenset()
    """Times due that waited when an owner died: it may have begun a cast, and not noted so."""
    watched: str = ""
    """The run whose end is waited for."""
    failed: bool = False
    """Whether a cast could not be begun for now and is tried again at the next tick."""

    def key(self, due: Due) -> str:
        """Return the idempotency key of the cast for a time due."""
        return f"schedule:{self.id}:{due.at:.3f}"


def plans_of(
    catalogue: Catalogue,
    declared: Callable[[str], Schedule | None],
    configured: Sequence[ScheduleSettings],
) -> Iterator[Plan]:
    """Yield a plan for each schedule; nothing is known yet of how it stands."""
    here = local_caller("schedule").at("schedule", session="schedule")
    for published in catalogue.spells:
        schedule = declared(published.name)
        if schedule is not None:
            yield Plan(f"spell:{published.name}", published.name, schedule, here)
    for item in configured:
        caller = Caller(
            principal=item.principal or here.principal, session="schedule", door="schedule"
        )
        yield Plan(f"settings:{item.name or _named(item)}", item.spell, item, caller)


def _named(item: ScheduleSettings) -> str:
    """Return a name for a schedule of the settings that has none: the same while it is the same."""
    parts: Object = item.model_dump(exclude={"missed", "overlap", "name"})
    return f"{item.spell}-{hashlib.sha256(canonical(parts)).hexdigest()[:8]}"
