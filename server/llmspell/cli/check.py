"""`llmspell check`: says what is wrong with spells, modules and tests, without casting anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.place import place_of
from llmspell.cli.waiting import perform

if TYPE_CHECKING:
    from llmspell.authoring.checking import Report


def check(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Files or directories; else the project's."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Print what is wrong with spells, as file:line: message.

    Each file is loaded and read; nothing is cast. Exit 1 when something is wrong; a warning
    alone is not wrong. Needs no owner and opens no database.
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
        say(_summary(report, project.spells))
    if not report.ok:
        raise typer.Exit(1)


def _summary(report: Report, spells: Path) -> str:
    if not report.files:
        return f"there is nothing to check in {spells}"
    severities = [finding.severity for finding in report.findings]
    found = [
        _count(number, noun) for noun in ("error", "warning") if (number := severities.count(noun))
    ]
    return f"{_count(report.files, 'file')}: {', '.join(found) or 'nothing wrong'}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
