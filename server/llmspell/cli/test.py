"""`llmspell test`: runs the tests of spells, every effect answered by the test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.place import place_of
from llmspell.cli.waiting import perform
from llmspell.errors import UsageError

if TYPE_CHECKING:
    from llmspell.authoring.testing.trial import Result
    from llmspell.config import Project


def spell_tests(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Files or directories; else *_test.lua in the project's spells and tests.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Run the tests of spells: no network, no database, no owner, no real time.

    Exit 1 when a test fails.
    """
    from llmspell.authoring.testing.collecting import find_tests
    from llmspell.cli.outputs import show_json

    project = place_of(context).open()
    files = find_tests(project, [path.resolve() for path in paths or []])
    if not files:
        raise UsageError(
            "there is no *_test.lua", hint="tests stand beside the spells, or in tests/"
        )
    results = perform(_test(project, files, show=not json))
    failed = sum(not result.ok for result in results)
    passed = len(results) - failed
    if json:
        tests = [result.to_value() for result in results]
        show_json({"passed": passed, "failed": failed, "tests": tests})
    else:
        typer.echo(f"{passed} passed, {failed} failed")
    if failed:
        raise typer.Exit(1)


async def _test(project: Project, files: list[Path], *, show: bool) -> list[Result]:
    from llmspell.authoring.testing.running import run_tests

    results: list[Result] = []
    async for result in run_tests(project, files):
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
