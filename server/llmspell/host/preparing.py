"""Castings made ready: of what is published, of a source text, of a run to be taken up again."""

from __future__ import annotations

from pathlib import Path

from llmspell.host.new_runs import NewRuns
from llmspell.host.spellbook import Spellbook
from llmspell.host.versions import Versions, source_castable
from llmspell.runs.castable import Castable
from llmspell.runs.casting import Casting
from llmspell.runs.live import LiveRun
from llmspell.runs.services import Services
from llmspell.runtime.engine import Engine
from llmspell.security.principals import Caller, local_caller
from llmspell.values import JSON


class Preparing:
    """Prepares castings. None is begun by that, and nothing stored."""

    def __init__(
        self,
        services: Services,
        new_runs: NewRuns,
        versions: Versions,
        book: Spellbook,
        engine: Engine,
    ) -> None:
        self._services = services
        self._new_runs = new_runs
        self._versions = versions
        self._book = book
        self._engine = engine

    def casting(
        self,
        castable: Castable,
        input: JSON,
        caller: Caller | None,
        timeout: float | None,
        *,
        live: LiveRun | None = None,
        source: bool = False,
    ) -> Casting:
        """Return the casting of a castable.

        Args:
            live: The proposed run that it is to be; None = a new one.
            source: Whether it is a source text that nothing publishes.

        Raises:
            InputInvalid: The input does not fit.
        """
        caller = caller or local_caller()
        limits = self._services.limits
        value = input if source else castable.accept_input(input, limit_bytes=limits.input_bytes)
        if live is None:
            live = self._new_runs.of(castable, value, caller, source=source)
        else:
            live = self._new_runs.chosen(live, castable, value, caller)
        own = castable.spec.budget.seconds
        live.run.seconds = min(
            seconds for seconds in (timeout, own, limits.cast_seconds) if seconds is not None
        )
        journal = self._services.journal(live.run.id)
        return Casting(self._services, live, castable, value, caller, journal=journal)

    def of_source(
        self, file: str, source: str, input: JSON, caller: Caller | None, timeout: float | None
    ) -> Casting:
        """Return the casting of a source text."""
        path = Path(file)
        name = path.name if path.is_absolute() else file
        directory = path.parent if path.is_absolute() else None
        program = self._book.program_of(name, source.encode(), directory)
        stem = "".join(c if c.isalnum() and c.isascii() else "_" for c in path.stem)
        # The run is called after the file until the file says what it casts.
        castable = source_castable(
            (stem if stem[:1].isalpha() else f"x{stem}")[:48], program, self._engine
        )
        return self.casting(castable, input, caller, timeout, source=True)

    async def again(self, live: LiveRun) -> Casting:
        """Return the casting that takes a stored run up again."""
        run = live.run
        return Casting(
            self._services,
            live,
            await self._versions.of(run),
            run.input,
            Caller(
                principal=run.principal,
                tenant=run.tenant,
                session=run.session,
                door=run.door,
                message=run.message,
            ),
            journal=await self._services.journal_of(run.id, True),
            is_resumed=True,
        )
