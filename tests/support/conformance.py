"""The official MCP conformance suite: which scenarios it has, and what a run of some came to."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.node import INTEROP, NODE

PACKAGE = INTEROP / "node_modules" / "@modelcontextprotocol" / "conformance"
RUN_SECONDS = 80

_TIMESTAMP = re.compile(r"-\d{4}-\d\d-\d\dT[\d-]+Z$")


@dataclass(frozen=True)
class Results:
    """What a run of the suite came to."""

    status: int
    """What the program ended with: 0 = everything that counts passed."""
    printed: str
    checks: dict[str, list[dict[str, Any]]]
    """The checks of each scenario that was run, by its name."""

    def complaints(self, scenario: str) -> list[str]:
        """Return what the suite found wrong or unwise, one text a check."""
        return [
            f"{check['status']} {check['id']}: {check.get('errorMessage')}"
            for check in self.checks[scenario]
            if check["status"] in ("FAILURE", "WARNING")
        ]


def server_scenarios() -> list[str]:
    """Return every scenario for servers that the package has, in its order."""
    listed = _suite(["list", "--server"])
    assert listed.returncode == 0, listed.stderr
    return re.findall(r"^  - (\S+) \[", listed.stdout, flags=re.MULTILINE)


def required_scenarios(revision: str) -> list[str]:
    """Return the scenarios for servers that a requirement set runs, those not scored included."""
    listed = _suite(["list", "--requirements", revision])
    assert listed.returncode == 0, listed.stderr
    scored = listed.stdout.partition("Server scenarios")[2].partition("\n\n")[0]
    return [
        *re.findall(r"^  - (\S+)$", scored, flags=re.MULTILINE),
        *re.findall(r"^    - (\S+) \[server\]$", listed.stdout, flags=re.MULTILINE),
    ]


def run_suite(url: str, arguments: Sequence[str], output: Path) -> Results:
    """Run scenarios against a server.

    Args:
        url: Its MCP endpoint.
        arguments: Which scenarios, in the words of the program.
        output: Directory for its reports.
    """
    done = _suite(["server", "--url", url, *arguments, "--output-dir", str(output)])
    checks = {
        _TIMESTAMP.sub("", path.parent.name).removeprefix("server-"): json.loads(
            path.read_text(encoding="utf-8")
        )
        for path in output.glob("*/checks.json")
    }
    return Results(done.returncode, done.stdout + done.stderr, checks)


def _suite(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    program = PACKAGE / "dist" / "index.js"
    assert program.exists(), "the conformance suite is not installed: run 'make setup'"
    return subprocess.run(
        [NODE, program, *arguments],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
