"""`llmspell check`: says what is wrong with spells, modules and tests, without casting anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmspell.cli.place import place_of
from llmspell.cli.waiting import perform


def check(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Files or directories; else the project's."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Load and read spells, and print each finding as file:line: message.

    Exit 1 when something is wrong; a warning alone is not wrong. Needs no owner and opens no
    database.
    """
    from llmspell.authoring.checking import check as check_files
    from llmspell.cli.outputs import say, show_json

    project = place_of(context).open()
    report = perform(check_files(project, [path.resolve() for path in paths or []]))
    if json:
        show_json(report.to_value())
    else:
        for finding in report.findings:
            say(finding.report())
        count = f"{report.files} {'file' if report.files == 1 else 'files'}"
        if report.ok:
            say(f"{count}, nothing wrong")
    if not report.ok:
        raise typer.Exit(1)
