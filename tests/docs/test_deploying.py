"""The systemd unit of docs/guide/deploying.md starts a server, and again when that is killed."""

from __future__ import annotations

import configparser
import shlex
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from llmspell.host.lock import owner_pid
from tests.support.markdown import blocks
from tests.support.servers import LLMSPELL, environment, make_project

PROJECT = "/srv/spells"


def unit() -> configparser.ConfigParser:
    [block] = blocks("ini")
    made = configparser.ConfigParser(interpolation=None)
    made.optionxform = str  # pyright: ignore[reportAttributeAccessIssue]  # as its documentation has it
    made.read_string(block.text)
    return made


@contextmanager
def started(project: Path) -> Generator[subprocess.Popen[str]]:
    """Start the unit's command in another project, wait until it serves, and end it."""
    _, *arguments = shlex.split(unit()["Service"]["ExecStart"])
    process = subprocess.Popen(
        [*LLMSPELL, *(str(project) if part == PROJECT else part for part in arguments)],
        env={**environment(), "LLMSPELL_SERVER__PORT": "0"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert any("/mcp" in line for line in process.stdout)
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_its_command_is_the_owner_and_serves_again_after_it_was_killed(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", ["hello"])
    with started(project) as process:
        assert owner_pid(project / ".llmspell") == process.pid
        process.send_signal(signal.SIGKILL)
        assert process.wait(20) == -signal.SIGKILL
    with started(project) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_it_is_started_again_after_a_failure_and_not_after_it_was_stopped() -> None:
    assert unit()["Service"]["Restart"] == "on-failure"


def test_it_may_write_where_its_project_is() -> None:
    service = unit()["Service"]
    assert service["ProtectSystem"] == "strict"
    assert service["ReadWritePaths"] == PROJECT
    assert f"--project {PROJECT} serve" in service["ExecStart"]
