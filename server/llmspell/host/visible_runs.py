"""The runs a caller may see: found, listed, read step by step, deleted.

What is changed of a run under way goes through its handle; see `host.limited_run` for
who may see a run and not act on it.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmspell.errors import UsageError
from llmspell.host.keeping import Keeping
from llmspell.host.limited_run import limited
from llmspell.host.run_interface import Pruned, RunHandle, RunPage, Step
from llmspell.host.running import Running
from llmspell.runs.archive import Archive
from llmspell.runs.journal_records import read_journal
from llmspell.runs.record import RunState
from llmspell.security.principals import Caller
from llmspell.security.scopes import require_runs


class VisibleRuns:
    """Runs under way and ended, each to the principal who began it."""

    def __init__(self, archive: Archive, running: Running, keeping: Keeping) -> None:
        self._archive = archive
        self._running = running
        self._keeping = keeping

    async def find(self, run_id: str, caller: Caller) -> RunHandle:
        """Return a run of the caller's, with what its scopes allow. See `HostInterface.run`."""
        require_runs(caller)
        return await limited(await self._running.find(run_id, caller), caller)

    async def list(
        self,
        *,
        caller: Caller,
        session: str | None,
        state: RunState | None,
        door: str | None,
        updated_after: float | None,
        limit: int,
        after: str | None,
    ) -> RunPage:
        """Return the caller's runs, the last changed first. See `HostInterface.runs`.

        Raises:
            UsageError: `after` is no cursor of this list.
        """
        require_runs(caller)
        await self._running.save()
        try:
            found, more, total = await self._archive.list(
                caller,
                session=session,
                state=state,
                door=door,
                updated_after=updated_after,
                limit=limit,
                after=after,
            )
        except ValueError as error:
            raise UsageError(str(error)) from None
        return RunPage(runs=found, next=more, total=total)

    async def journal(self, run_id: str, caller: Caller) -> Sequence[Step]:
        """Return the recorded effects of a run, in the order they were recorded."""
        await self.find(run_id, caller)
        return [
            Step(
                number=row.number,
                key=row.record.key,
                kind=row.record.kind,
                name=row.record.name,
                at=row.record.at,
                ok=row.record.ok,
            )
            for row in await read_journal(self._archive.store, run_id)
            if not row.record.begun and row.record.kind != "order"
        ]

    async def prune(self, *, caller: Caller, before: float | None, dry: bool) -> Pruned:
        """Delete runs that are not kept. See `HostInterface.prune`."""
        await self._running.save()
        return await self._keeping.prune(caller=caller, before=before, dry=dry)
