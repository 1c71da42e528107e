"""Real projects and real servers, in processes of their own, for tests that come from outside."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
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
    project: Path


def environment() -> dict[str, str]:
    """Return the environment of a child: this checkout, and no settings from outside it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LLMSPELL_")}
    roots = os.pathsep.join(str(ROOT / name) for name in ("server", "protocols"))
    return {**kept, "PYTHONPATH": roots, "LLMSPELL_ALLOW_NETWORK": "0"}


def make_project(directory: Path, spells: Sequence[str]) -> Path:
    """Make a project that holds these of the bundled spells, and return its directory."""
    (directory / "spells").mkdir(parents=True)
    (directory / "llmspell.toml").write_text("", encoding="utf-8")
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@contextmanager
def running_server(project: Path) -> Generator[Server]:
    """Serve a project over HTTP until the block ends.

    Raises:
        AssertionError: The server ended or was not ready in time; says what it printed.
    """
    url = f"http://127.0.0.1:{_free_port()}"
    log = project / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*LLMSPELL, "serve", "--port", url.rpartition(":")[2]],
            cwd=project,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _is_ready(url):
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(log.read_text(encoding="utf-8"))
        token = (project / ".llmspell" / "token").read_text(encoding="utf-8").strip()
        yield Server(url, token, project)
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
