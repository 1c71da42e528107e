"""`llmspell exec`: casts a piece of Lua given on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.run import show_run
from llmspell.cli.waiting import perform

if TYPE_CHECKING:
    from llmspell.runs.record import Outcome


def exec_(
    context: typer.Context,
    chunk: Annotated[str, typer.Argument(metavar="LUA", help="For example: 'return 1 + 1'.")],
    json: Annotated[
        bool, typer.Option("--json", help="Print the whole outcome as JSON, the run's id included.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(metavar="S", min=0.001, help="Seconds the cast may take.")
    ] = None,
) -> None:
    """Cast a piece of Lua and print what it returns."""
    from llmspell.cli.outputs import show_outcome

    outcome = perform(_exec(place_of(context), chunk, timeout))
    raise typer.Exit(show_outcome(outcome, as_json=json))


async def _exec(place: Place, chunk: str, timeout: float | None) -> Outcome:
    async with await place.attach() as host:
        handle = await host.start_source("exec", chunk, {}, timeout=timeout, attached=True)
        return await show_run(handle)
