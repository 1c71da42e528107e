"""What a host does by itself, for as long as it is open.

Casting what is scheduled, following the files of spells, deleting old runs and what
has expired, copying the database. Each is a class of its own; here they begin and end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from llmspell.clock import Clock
from llmspell.config import Project
from llmspell.host.keeping import Keeping
from llmspell.host.schedules import Caster, Schedules
from llmspell.host.spellbook import Spellbook
from llmspell.state.checkpoints import DIRECTORY, Checkpoints
from llmspell.state.store import Store

log = logging.getLogger(__name__)


class Chores:
    """The chores of one host.

    Args:
        host: What casts what is scheduled.
    """

    def __init__(
        self, host: Caster, project: Project, store: Store, book: Spellbook, clock: Clock
    ) -> None:
        settings = project.settings
        self._book = book
        self.keeping = Keeping(store, clock, settings.runs)
        self.schedules = Schedules(
            host,
            store,
            clock,
            declared=lambda name: castable.spec.schedule if (castable := book.get(name)) else None,
            configured=settings.schedules,
        )
        self.checkpoints = Checkpoints(
            store,
            project.state / DIRECTORY,
            clock,
            every_seconds=settings.state.checkpoint_every,
            hourly=settings.state.checkpoints_hourly,
            daily=settings.state.checkpoints_daily,
        )
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Begin all but the schedules, which begin by themselves once everything else has."""
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(_seen("watching the spells", self._book.watch())),
            loop.create_task(_seen("making checkpoints", self.checkpoints.run())),
        ]
        self.keeping.begin()

    async def close(self) -> None:
        """End them all. Closing twice is no error."""
        await self.schedules.close()
        await self.keeping.close()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _seen(what: str, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:  # a lost chore must be seen, and must not end the server
        log.exception("%s failed, and is over until a restart", what)
