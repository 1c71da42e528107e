"""`llmspell runs cancel`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.runs.finding import AsJson, RunId
from llmspell.cli.waiting import perform

if TYPE_CHECKING:
    from llmspell.runs.record import Run


def cancel(context: typer.Context, id: RunId, json: AsJson = False) -> None:
    """Stop a run and everything it began. One that is canceled already is no error."""
    from llmspell.cli.outputs import say, show_json

    run = perform(_cancel(place_of(context), id))
    if json:
        import msgspec

        show_json(msgspec.to_builtins(run))
    else:
        say(f"run {run.id} is {run.state}")


async def _cancel(place: Place, given: str) -> Run:
    from llmspell.cli.runs.finding import find_run

    async with await place.attach() as host:
        return await (await find_run(host, given)).cancel()
