"""Castings made ready: of what is published, of a source text, of a run to be taken up again."""

from __future__ import annotations

from pathlib import Path

from llmspell.errors import InternalError
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
    """Prepares castings, until `close`. None is begun by that, and nothing stored."""

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
        self._is_closed = False

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
            InternalError: The host is closed.
        """
        if self._is_closed:
            raise InternalError("the host is closed")
        caller = caller or local_caller()
        limits = self._services.limits
        value = input if source else castable.accept_input(input, limit_bytes=limits.input_bytes)
        if live is None:
            live = self._new_runs.of(castable, value, caller, source=source)
        else:
            live = self._new_runs.chosen(live, castable, value, caller)
        seconds, own = limits.cast_seconds, castable.spec.budget.seconds
        if own is not None and own < seconds:
            seconds = own
        if timeout is not None and timeout < seconds:
            seconds = timeout
        live.run.seconds = seconds
        journal = self._services.journal(live.run.id)
        return Casting(self._services, live, castable, value, caller, journal=journal)

    def of_source(
        self, file: str, source: str, input: JSON, caller: Caller | None, timeout: float | None
    ) -> Casting:
        """Return the casting of a source text.

        Raises:
            InternalError: The host is closed.
        """
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

    def close(self) -> None:
        """Prepare no more."""
        self._is_closed = True
