"""`llmspell info`: which project, which state, who owns it, what is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmspell.cli.place import place_of
from llmspell.cli.waiting import perform

if TYPE_CHECKING:
    from llmspell.config import Project
    from llmspell.values import Object


def info(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the project, its owner and what is installed. Starts nothing."""
    found = perform(_collect(place_of(context).open()))
    if json:
        from llmspell.cli.outputs import show_json

        show_json(found)
        return
    http: Object | None = found["http"]
    owner = f"process {found['owner']}" if found["owner"] else "none"
    if found["owner"] and found["owner_version"] != found["version"]:
        owner += f", llmspell {found['owner_version']}"
    lines: list[tuple[str, Any]] = [
        ("llmspell", found["version"]),
        ("project", found["project"]),
        ("state", found["state"]),
        ("owner", owner),
        ("http", http["url"] if http else "closed"),
        ("engines", ", ".join(found["engines"])),
        ("providers", ", ".join(found["providers"])),
        ("isolation", found["isolation"]),
    ]
    for label, value in lines:
        typer.echo(f"{label:<10} {value}")


async def _collect(project: Project) -> Object:
    from llmspell import __version__, plugins
    from llmspell.host.remote import RemoteHost

    told: Object = {}
    owner = await RemoteHost.find(project.state)
    if owner is not None:
        async with owner:
            told = await owner.call("info")
    return {
        "version": __version__,
        "project": str(project.root),
        "state": str(project.state),
        "owner": told.get("pid"),
        "owner_version": told.get("version"),
        "http": told.get("http"),
        "engines": plugins.names("engines"),
        "providers": plugins.names("providers"),
        "isolation": _isolation(project),
    }


def _isolation(project: Project) -> str:
    from llmspell import plugins

    engine = plugins.load("engines", "lua")(isolation=project.settings.runtime.isolation)
    return "; ".join(engine.isolation().lines)
