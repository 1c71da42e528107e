"""`llmspell stdio --standalone`: MCP on stdin and stdout from this very process.

Without the option the command is the bridge, which `cli.main` runs before this
module is ever imported.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.place import place_of

if TYPE_CHECKING:
    from llmspell.config import Project


def stdio(
    context: typer.Context,
    standalone: Annotated[
        bool,
        typer.Option("--standalone", help="Own the state directory in this process: no bridge."),
    ] = False,
    bundle: Annotated[
        str,
        typer.Option("--bundle", metavar="NAME", help="Serve the spells of this bundle alone."),
    ] = "",
) -> None:
    """Speak MCP on stdin and stdout.

    It goes through the owner; one is started when there is none.
    """
    if not standalone:
        from llmspell.bridge.stdio import main

        raise typer.Exit(main(place_of(context).address(), bundle))
    from llmspell.cli.logs import set_up_logging
    from llmspell.cli.owning import run_loop

    project = place_of(context).open()
    set_up_logging(project.settings.log)
    run_loop(_standalone(project, bundle))


async def _standalone(project: Project, bundle: str) -> None:
    from llmspell.cli.owning import owning
    from llmspell.endpoints.mcp.stdio import serve_stdio

    async with owning(project) as (owner, _), owner.signals():
        # Others attach meanwhile as to any owner; this client's leaving ends it.
        serving = asyncio.ensure_future(owner.serve())
        speaking = asyncio.ensure_future(serve_stdio(owner.host, bundle=bundle))
        try:
            await asyncio.wait([serving, speaking], return_when=asyncio.FIRST_COMPLETED)
        finally:
            owner.stop()
            speaking.cancel()
            results = await asyncio.gather(serving, speaking, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
