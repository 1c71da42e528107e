"""What performing needs of the house, handed in by the host."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from llmspell.clock import Clock
from llmspell.config import LimitSettings, ModelSettings
from llmspell.providers.registry import Providers
from llmspell.runs.archive import Archive
from llmspell.runs.castable import Castable
from llmspell.runs.journal import Journal
from llmspell.runs.journal_records import read_journal
from llmspell.runs.live import LiveRun
from llmspell.runs.log import ListKind
from llmspell.runs.pacing import Pace
from llmspell.runs.record import Run
from llmspell.runs.stop import Stop
from llmspell.runs.turns import Turns
from llmspell.runtime.engine import ScriptLimits
from llmspell.state.scopes import Scopes


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of the house that performing uses."""

    archive: Archive
    scopes: Scopes
    models: Providers
    clock: Clock
    limits: LimitSettings
    model_settings: ModelSettings
    script_limits: ScriptLimits
    find: Callable[[str], Castable | None]
    """The published castable of a name, or None."""
    turns: Turns
    pace: Pace = field(default_factory=Pace)
    """At which the crowds of effects of all runs are begun and ended."""
    suggest: Callable[[str], str]
    """A hint with the names nearest to an unknown one."""
    castable_of: Callable[[Run], Awaitable[Castable]]
    """The version of a spell that a run was begun with."""
    new_live: Callable[[Run, Castable], LiveRun]
    """A run that the store does not know yet."""
    live: dict[str, LiveRun] = field(default_factory=dict[str, LiveRun])
    """The runs that are performed now, children among them."""
    stops: dict[str, Stop] = field(default_factory=dict[str, Stop])
    """What stops each child that is at work."""
    ending: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])
    """Set once it is over: the stopping of each run that no cast is at work for."""
    opened: WeakValueDictionary[str, LiveRun] = field(
        default_factory=WeakValueDictionary[str, LiveRun]
    )
    """Every run that somebody has open: there is one object of each, parked or not."""
    resource_changed: Callable[[str, str], None]
    """Told that a run changed what a resource holds: its tenant and the URI."""
    list_changed: Callable[[ListKind], None]
    """Told that a run says a list has changed."""
    history: int
    """Effects one run may record."""
    ask_seconds: float
    """How long a question waits for an answer that says nothing else."""

    def journal(self, run_id: str) -> Journal:
        """Return an empty journal."""
        return Journal(run_id, self.archive.store, self.clock, limit=self.history)

    async def journal_of(self, run_id: str, is_resumed: bool) -> Journal:
        """Return the journal of a run, with what was recorded before when it is resumed.

        Raises:
            StateCorrupt: The stored bytes are damaged.
        """
        journal = self.journal(run_id)
        if is_resumed:
            await journal.restore(await read_journal(self.archive.store, run_id))
        return journal

    async def reopen(self, tenant: str, run_id: str) -> LiveRun | None:
        """Return a run of the store to be performed again, or None when there is none."""
        live = self.live.get(run_id)
        if live is not None:
            return live
        if (live := self.opened.get(run_id)) is not None:
            live.revive()
            return live
        run = await self.archive.find(tenant, run_id)
        if run is None:
            return None
        events = await self.archive.events(run_id)
        if (live := self.opened.get(run_id)) is not None:
            return live  # somebody else opened it during that read
        live = self.opened[run_id] = LiveRun(run, self.archive, self.clock, events=events)
        return live
