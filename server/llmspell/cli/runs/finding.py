"""How a command finds the run that a person means."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from llmspell.errors import OutputTooLarge, RunNotFound, UsageError

if TYPE_CHECKING:
    from llmspell.host.remote import RemoteHost
    from llmspell.host.run_interface import RunHandle
    from llmspell.runs.record import Run, RunState

RunId: TypeAlias = Annotated[
    str, typer.Argument(metavar="ID", help="The run, or how its id begins.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_PAGE = 500
_SHOWN = 5


async def find_run(host: RemoteHost, given: str) -> RunHandle:
    """Return the handle of the run whose id is, or begins with, what was given.

    Raises:
        RunNotFound: There is none.
        UsageError: Several begin so.
    """
    from llmspell.runs.record import is_run_id
    from llmspell.security.principals import local_caller

    if is_run_id(given):
        return await host.run(given, caller=local_caller("cli"))
    found = [run.id async for run in all_runs(host) if given and run.id.startswith(given)]
    if not found:
        raise RunNotFound(f"no run {given[:64]!r}", hint="'llmspell runs list' shows them")
    if len(found) > 1:
        more = ", ..." if len(found) > _SHOWN else ""
        raise UsageError(
            f"{len(found)} runs begin with {given!r}",
            hint=f"give more of the id: {', '.join(found[:_SHOWN])}{more}",
        )
    return await host.run(found[0], caller=local_caller("cli"))


async def all_runs(
    host: RemoteHost, *, state: RunState | None = None, session: str | None = None
) -> AsyncIterator[Run]:
    """Yield this person's runs, the last changed first."""
    from llmspell.security.principals import local_caller

    after, limit = None, _PAGE
    while True:
        try:
            page = await host.runs(
                caller=local_caller("cli"), state=state, session=session, limit=limit, after=after
            )
        except OutputTooLarge:
            if limit == 1:
                raise
            limit = max(1, limit // 8)  # records with large inputs
            continue
        for run in page.runs:
            yield run
        if page.next is None:
            return
        after = page.next
