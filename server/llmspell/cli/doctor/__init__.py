"""`llmspell doctor`: what is well here and what is not, each with what to do about it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.waiting import perform
from llmspell.errors import LlmspellError

if TYPE_CHECKING:
    from llmspell.cli.doctor.finding import Finding
    from llmspell.config import Project


def doctor(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Also write what was found, the settings and the end of the log, without secrets.",
        ),
    ] = None,
) -> None:
    """Check this project as its clients would use it.

    Clients start the owner, so this does too. Exit 1 when something is wrong.
    """
    from llmspell.cli.doctor.finding import has_problem, show, to_value

    place = place_of(context)
    project, findings = perform(_examine(place))
    if report is not None:
        from llmspell.cli.doctor.report import write_report

        write_report(report, findings, project)
    if json:
        from llmspell.cli.outputs import show_json

        show_json([to_value(finding) for finding in findings])
    else:
        for finding in findings:
            show(finding)
        if report is not None:
            typer.echo(f"written to {report}", err=True)
    if has_problem(findings):
        raise typer.Exit(1)


async def _examine(place: Place) -> tuple[Project | None, list[Finding]]:
    from llmspell.cli.clients.known import Places
    from llmspell.cli.doctor import clients, http, machine, models, owner, state
    from llmspell.cli.doctor.finding import Finding, has_problem

    findings = machine.examine()
    try:
        project = place.open()
    except LlmspellError as error:
        findings.append(Finding("settings", "problem", error.message, error.hint))
        return None, findings
    findings.append(Finding("settings", "ok", f"valid; project {project.root}"))
    findings += machine.examine_isolation(project)
    directory = state.examine_directory(project.state)
    findings += directory
    if not has_problem(directory):
        # As clients do it: what they find is what this is about, and they bring an owner to life.
        address = place.address()
        findings += await clients.examine(
            address,
            Places.of(address.project, os.environ),
            os.environ,
            with_state=place.state is not None,
            wait=project.settings.runs.wait,
        )
        findings += await owner.examine(project)
    findings += await http.examine(project)
    findings += models.examine(project)
    return project, findings
