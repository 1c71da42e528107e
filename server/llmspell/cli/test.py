"""`llmspell test`: runs the tests of spells, every effect answered by the test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.place import place_of
from llmspell.cli.waiting import perform
from llmspell.errors import UsageError

if TYPE_CHECKING:
    from llmspell.authoring.testing.coverage import Coverage
    from llmspell.authoring.testing.trial import Result
    from llmspell.config import Project
    from llmspell.values import Object


def spell_tests(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Files or directories; else *_test.lua in the project's spells and tests.",
        ),
    ] = None,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Tell which lines of the spells ran.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Run the tests of spells.

    They need no network, no database, no owner and no real time. Exit 1 when a test fails.
    """
    from llmspell.authoring.testing.collecting import find_tests
    from llmspell.authoring.testing.coverage import Coverage
    from llmspell.cli.outputs import show_json
    from llmspell.cli.tables import show_table

    project = place_of(context).open()
    files = find_tests(project, [path.resolve() for path in paths or []])
    if not files:
        raise UsageError(
            "there is no *_test.lua", hint="tests stand beside the spells, or in tests/"
        )
    covered = Coverage() if coverage else None
    results = perform(_test(project, files, covered, show=not json))
    failed = sum(not result.ok for result in results)
    passed = len(results) - failed
    if json:
        tests = [result.to_value() for result in results]
        shown: Object = {"passed": passed, "failed": failed, "tests": tests}
        if covered is not None:
            shown["coverage"] = [found.to_value() for found in covered.files]
        show_json(shown)
    else:
        typer.echo(f"{passed} passed, {failed} failed")
        if covered is not None:
            show_table(*_coverage_table(covered))
    if failed:
        raise typer.Exit(1)


def _coverage_table(coverage: Coverage) -> tuple[list[str], list[list[str]]]:
    rows = [
        [found.file, str(len(found.lines)), f"{found.percent}%", found.missing]
        for found in coverage.files
    ]
    total = coverage.total
    return ["file", "lines", "ran", "missing"], [
        *rows,
        ["", str(len(total.lines)), f"{total.percent}%", ""],
    ]


async def _test(
    project: Project, files: list[Path], coverage: Coverage | None, *, show: bool
) -> list[Result]:
    from llmspell.authoring.testing.running import run_tests

    results: list[Result] = []
    async for result in run_tests(project, files, coverage=coverage):
        results.append(result)
        if show and not result.ok:
            _show(result)
    return results


def _show(result: Result) -> None:
    error = result.error
    assert error is not None  # it failed
    typer.echo(f"FAIL {result.file}:{result.line} {result.name}".rstrip())
    if error.data.get("code") == "expectation":
        typer.echo(f"  {error.where}: {error.message}")
    else:
        typer.echo("\n".join(f"  {line}" for line in error.report().splitlines()))
    for line in result.log:
        typer.echo(f"  | {line}")
