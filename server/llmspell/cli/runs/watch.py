"""`llmspell runs watch`: the events of a run as they come."""

from __future__ import annotations

from typing import Annotated

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.runs.finding import AsJson, RunId
from llmspell.cli.waiting import INTERRUPTED, perform


def watch(
    context: typer.Context,
    id: RunId,
    after: Annotated[
        int, typer.Option(metavar="N", min=0, help="Begin behind the event of this number.")
    ] = 0,
    json: AsJson = False,
) -> None:
    """Follow the events of a run until it has ended, one a line.

    With --json each is JSON. Ctrl-C stops watching, not the run.
    """
    from llmspell.cli.outputs import say

    try:
        perform(_watch(place_of(context), id, after, as_json=json))
    except typer.Exit as end:
        if end.exit_code == INTERRUPTED:
            say("the run goes on")
        raise


async def _watch(place: Place, given: str, after: int, *, as_json: bool) -> None:
    from llmspell.cli.runs.events import line_of
    from llmspell.cli.runs.finding import find_run
    from llmspell.values import dumps

    async with await place.attach() as host:
        handle = await find_run(host, given)
        async for event in handle.events(after):
            print(dumps(event) if as_json else line_of(handle.id, event), flush=True)
