"""`llmspell demo`: the main job, shown: clients and a remote agent use one project."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from llmspell.errors import UsageError

MARK = "# Made by 'llmspell demo'."
"""First line of the settings of a demo project."""

SPELLS = ("hello", "word_count", "notes", "research_brief")


def demo(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where the project is left behind.")
    ] = Path("llmspell-demo"),
) -> None:
    """Show the main job, offline and without a key.

    The project it makes is left behind, to look at.
    """
    from llmspell.cli.demonstration import show

    try:
        project = make_project(directory.resolve())
    except OSError as error:
        raise UsageError(
            f"{error.filename}: {error.strerror}", hint="name another directory: llmspell demo DIR"
        ) from None
    asyncio.run(show(project))


def make_project(directory: Path) -> Path:
    """Make the demo project, or freshen the one that is there; return its directory.

    Raises:
        UsageError: The directory holds something else.
    """
    from llmspell.host.sources import bundled_spells

    templates = Path(__file__).parent / "templates" / "demo"
    settings = directory / "llmspell.toml"
    if directory.exists() and any(directory.iterdir()):
        if not settings.is_file() or not settings.read_text(encoding="utf-8").startswith(MARK):
            raise UsageError(
                f"{str(directory)!r} is not empty and no demo project",
                hint="name another directory: llmspell demo DIR",
            )
    else:
        (directory / "models").mkdir(parents=True)
        for name in ("llmspell.toml", "models/brief.json"):
            (directory / name).write_bytes((templates / name).read_bytes())
        (directory / ".gitignore").write_text(".llmspell/\n", encoding="utf-8")
    (directory / "spells").mkdir(exist_ok=True)
    for name in SPELLS:
        target = directory / "spells" / f"{name}.lua"
        # hello.lua is what the show edits, so each show begins with the original.
        if name == "hello" or not target.exists():
            target.write_bytes((bundled_spells() / f"{name}.lua").read_bytes())
    return directory
