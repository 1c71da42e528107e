"""`llmspell runs prune`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.runs.finding import AsJson
from llmspell.cli.waiting import perform

if TYPE_CHECKING:
    from llmspell.host.run_interface import Pruned


def prune(
    context: typer.Context,
    before: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Delete every ended run last changed longer ago than this, e.g. 30d; "
            "else what the settings do not keep.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count them.")] = False,
    json: AsJson = False,
) -> None:
    """Delete ended runs with all that was recorded of them."""
    from llmspell.cli.outputs import say, show_json

    pruned = perform(_prune(place_of(context), before, dry=dry_run))
    if json:
        import msgspec

        show_json(msgspec.to_builtins(pruned))
        return
    done = "would delete" if dry_run else "deleted"
    runs = "1 run" if pruned.runs == 1 else f"{pruned.runs} runs"
    say(f"{done} {runs}, {pruned.bytes} bytes")


async def _prune(place: Place, before: str | None, *, dry: bool) -> Pruned:
    from llmspell.cli.inputs import read_duration
    from llmspell.security.principals import local_caller

    at = None if before is None else time.time() - read_duration("--before", before)
    async with await place.attach() as host:
        return await host.prune(caller=local_caller("cli"), before=at, dry=dry)
