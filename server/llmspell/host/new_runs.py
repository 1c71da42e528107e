"""New runs: their records as they begin, and what is stored with them first."""

from __future__ import annotations

from llmspell.clock import Clock
from llmspell.host.first_save import FirstSave
from llmspell.host.keys import Keys
from llmspell.host.versions import Versions
from llmspell.runs.archive import Archive
from llmspell.runs.castable import Castable
from llmspell.runs.live import LiveRun
from llmspell.runs.record import Run, new_run_id
from llmspell.security.principals import Caller
from llmspell.values import JSON


class NewRuns:
    """Makes runs. None is stored by that."""

    def __init__(self, archive: Archive, clock: Clock, versions: Versions, keys: Keys) -> None:
        self._archive = archive
        self._clock = clock
        self._versions = versions
        self._keys = keys

    def of(self, castable: Castable, input: JSON, caller: Caller, *, source: bool) -> LiveRun:
        """Return a new run of a castable.

        Args:
            source: Whether it is a source text that nothing publishes.
        """
        run = self._record(input, caller)
        run.spell, run.spell_version, run.source = castable.name, castable.version, source
        return self.live(run, castable)

    def proposed(self, data: JSON, caller: Caller) -> LiveRun:
        """Return a new run for which a spell has yet to be chosen."""
        return LiveRun(self._record(data, caller), self._archive, self._clock)

    def chosen(self, live: LiveRun, castable: Castable, input: JSON, caller: Caller) -> LiveRun:
        """Return a proposed run as one of the castable that was chosen for it."""
        run = live.run
        run.spell, run.spell_version = castable.name, castable.version
        run.input, run.message = input, caller.message
        live.also_save(FirstSave(run, castable, self._versions, self._keys))
        return live

    def unchosen(self, live: LiveRun, asked: Run) -> None:
        """Make a run the proposal again that it was, `asked`: the choice could not be kept."""
        run = live.run
        run.spell, run.spell_version, run.seconds = "", "", asked.seconds
        run.input, run.message = asked.input, asked.message

    def keyed(self, live: LiveRun, castable: Castable) -> None:
        """Have the keys of a run stored with its next save."""
        live.also_save(FirstSave(live.run, castable, self._versions, self._keys))

    def live(self, run: Run, castable: Castable) -> LiveRun:
        """Return a new record as a run under way."""
        # Most have neither a key nor a version that is new: nothing is stored with those.
        if self._versions.has(castable):
            return LiveRun(run, self._archive, self._clock)
        first_save = FirstSave(run, castable, self._versions, self._keys)
        return LiveRun(run, self._archive, self._clock, first_save=first_save)

    def _record(self, input: JSON, caller: Caller) -> Run:
        now = self._clock.time()
        return Run(
            id=new_run_id(now),
            tenant=caller.tenant,
            principal=caller.principal,
            session=caller.session,
            spell="",
            door=caller.door,
            input=input,
            created_at=now,
            updated_at=now,
            message=caller.message,
        )
