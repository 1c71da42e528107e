"""One thing that was looked at, what came of it, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

import typer

from llmspell.values import Object

Verdict = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    detail: str
    advice: str = ""
    """What to do; set whenever the verdict is not `ok`."""


def has_problem(findings: Iterable[Finding]) -> bool:
    """Return whether something has to be done."""
    return any(finding.verdict == "problem" for finding in findings)


def to_value(finding: Finding) -> Object:
    """Return a finding as a JSON object."""
    return asdict(finding)


def show(finding: Finding) -> None:
    """Write a finding to stdout."""
    typer.echo(f"{finding.verdict:<8} {finding.name}: {finding.detail}")
    if finding.advice and finding.verdict != "ok":
        typer.echo(f"{'':<8} -> {finding.advice}")
