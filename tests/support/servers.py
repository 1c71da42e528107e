"""Real projects and real servers, in processes of their own, for tests that come from outside."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
LLMSPELL = (sys.executable, "-m", "llmspell")
"""The command of this checkout."""

START_SECONDS = 30.0
STOP_SECONDS = 15.0


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    url: str
    token: str
    """"" where the project's settings let everybody in."""
    project: Path


def environment() -> dict[str, str]:
    """Return the environment of a child: this checkout, and no settings from outside it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LLMSPELL_")}
    roots = os.pathsep.join(str(ROOT / name) for name in ("server", "protocols"))
    return {**kept, "PYTHONPATH": roots, "LLMSPELL_ALLOW_NETWORK": "0"}


def make_project(directory: Path, spells: Sequence[str], settings: str = "") -> Path:
    """Make a project that holds these of the bundled spells, and return its directory."""
    (directory / "spells").mkdir(parents=True)
    (directory / "llmspell.toml").write_text(settings, encoding="utf-8")
    for name in spells:
        shutil.copy(ROOT / "spells" / f"{name}.lua", directory / "spells")
    return directory


def llmspell(*arguments: str, cwd: Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return what it printed."""
    return subprocess.run(
        [*LLMSPELL, *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def _announcement(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return what a starting server says of itself: it says it once it answers."""
    assert process.stdout is not None
    said = b""
    deadline = time.monotonic() + START_SECONDS
    while b"Ctrl-C" not in said:
        left = max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([process.stdout], [], [], left)
        piece = os.read(process.stdout.fileno(), 4096) if ready else b""
        assert piece, f"no server: {log.read_text(encoding='utf-8')}"
        said += piece
    return said.decode()


@contextmanager
def running_server(project: Path) -> Generator[Server]:
    """Serve a project over HTTP, on a port of the system's choice, until the block ends.

    Raises:
        AssertionError: The server ended or did not answer in time; says what it logged.
    """
    log = project / "serve.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*LLMSPELL, "serve", "--port", "0"],
            cwd=project,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    with process:
        try:
            found = re.search(r"MCP +(\S+)/mcp", _announcement(process, log))
            assert found is not None
            kept = project / ".llmspell" / "token"
            token = kept.read_text(encoding="utf-8").strip() if kept.exists() else ""
            yield Server(found[1], token, project)
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)
