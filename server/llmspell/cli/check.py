"""`llmspell check`: loads spells without casting or publishing them, and says what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.place import place_of
from llmspell.cli.waiting import perform
from llmspell.errors import LlmspellError, UsageError

if TYPE_CHECKING:
    from llmspell.config import Project


def check(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Files or directories; else the project's."),
    ] = None,
) -> None:
    """Load spells and print each finding as file:line: message; exit 1 when there is one.

    Needs no owner and opens no database.
    """
    project = place_of(context).open()
    for path in paths or []:
        if not path.exists():
            raise UsageError(f"{str(path)!r} does not exist", hint="")
    checked, problems = perform(_check(project, [path.resolve() for path in paths or []]))
    for problem in problems:
        print(problem.report(), file=sys.stderr)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{checked} {'file' if checked == 1 else 'files'}, nothing wrong", err=True)


async def _check(project: Project, paths: Sequence[Path]) -> tuple[int, list[LlmspellError]]:
    from llmspell import plugins
    from llmspell.host.sources import find_spells
    from llmspell.host.spellbook import Spellbook
    from llmspell.runtime.engine import Engine, ScriptLimits

    limits = project.settings.limits
    engine: Engine = plugins.load("engines", "lua")(idle_workers=1, max_workers=1)
    book = Spellbook(
        project,
        engine,
        ScriptLimits(heap_bytes=limits.heap_bytes, slice_seconds=limits.load_seconds),
    )
    try:
        if not paths:
            catalogue = await book.reload()
            found = [LlmspellError.from_value(problem) for problem in catalogue.problems]
            return len(find_spells(project.root, project.spells)), found
        files = [
            file
            for path in paths
            for file in ([f.path for f in find_spells(path, path)] if path.is_dir() else [path])
        ]
        return len(files), await book.check(files)
    finally:
        await engine.close()
