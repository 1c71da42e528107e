"""`llmspell runs fork`."""

from __future__ import annotations

from typing import Annotated

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.runs.finding import AsJson, RunId
from llmspell.cli.waiting import perform


def fork(
    context: typer.Context,
    id: RunId,
    step: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="The first step that is done anew, as 'runs show' numbers them; else none is.",
        ),
    ] = None,
    current: Annotated[
        bool,
        typer.Option("--current", help="Go on with the spell as it is now, not as it was then."),
    ] = False,
    json: AsJson = False,
) -> None:
    """Begin a new run with the steps another one has done.

    Prints the id of the new run, which goes on by itself.
    """
    from llmspell.cli.outputs import show_json

    made = perform(_fork(place_of(context), id, step, current=current))
    if json:
        show_json({"run_id": made})
    else:
        print(made)


async def _fork(place: Place, given: str, step: int | None, *, current: bool) -> str:
    from llmspell.cli.runs.finding import find_run
    from llmspell.security.principals import local_caller

    async with await place.attach() as host:
        origin = await find_run(host, given)
        made = await host.fork(origin.id, caller=local_caller("cli"), step=step, current=current)
        return made.id
