"""`llmspell runs result`: what came of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.runs.finding import AsJson, RunId
from llmspell.cli.waiting import perform

if TYPE_CHECKING:
    from llmspell.runs.record import Outcome


def result(context: typer.Context, id: RunId, json: AsJson = False) -> None:
    """Wait until a run has ended and print its result.

    It is printed as 'llmspell run' does. Exit status: 0 completed, 1 failed, 3 it waits for an
    answer, 130 interrupted; the run goes on.
    """
    from llmspell.cli.outputs import show_outcome

    raise typer.Exit(show_outcome(perform(_result(place_of(context), id)), as_json=json))


async def _result(place: Place, given: str) -> Outcome:
    from llmspell.cli.runs.finding import find_run

    async with await place.attach() as host:
        return await (await find_run(host, given)).result()
