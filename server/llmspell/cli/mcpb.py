"""`llmspell mcpb [FILE]`: this project as one file that a desktop client installs with a click."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmspell.cli.place import place_of


def mcpb(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="What to write; NAME-VERSION.mcpb here by default.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What it is called; else as the project's directory."),
    ] = None,
    author: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Who made it, as clients show it.")
    ] = None,
    release: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="Its own version, x.y.z; else that of llmspell."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file when it exists.")
    ] = False,
) -> None:
    """Write this project as an MCP bundle (MCPB).

    It holds the spells and the settings. The client that installs it brings Python and llmspell
    along with uv. What its spells remember is kept in the user's data directory.
    """
    from llmspell.cli.bundling import Description, bundle, write_bundle
    from llmspell.cli.outputs import say

    project = place_of(context).open()
    description = Description.of(project.root, name=name, author=author, version=release)
    path = file or Path(f"{description.name}-{description.version}.mcpb")
    data = bundle(description, project.root)
    write_bundle(path, data, replace=force)
    typer.echo(str(path))
    say(f"{len(data)} bytes; open it with Claude Desktop to install it")
