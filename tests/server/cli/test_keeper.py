"""The keeper: an owner that is killed is replaced, one that ends is not."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

from tests.support.owners import OwnedProject, wait_until


def test_an_owner_that_is_killed_is_replaced_though_no_client_is_there(
    project: OwnedProject,
) -> None:
    assert project.run("run", "hello").returncode == 0
    keeper = project.keeper
    first = project.kill_owner()
    wait_until(lambda: project.owner, "there is another owner")
    assert project.owner != first
    assert project.keeper == keeper
    assert "was ended by SIGKILL" in project.log
    assert project.run("run", "hello").stdout == "Hello, world!\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_owner_that_is_told_to_end_is_not_replaced(
    project: OwnedProject, number: signal.Signals
) -> None:
    project.own()
    owner, keeper = project.owner, project.keeper
    assert owner
    assert keeper
    watched = os.pidfd_open(keeper)
    os.kill(owner, number)
    wait_until(lambda: ended(watched), "the keeper has ended too")
    os.close(watched)
    assert project.owner is None
    assert project.owners_begun == 1


def test_nothing_is_loaded_for_later_owners_when_the_first_ends_by_itself() -> None:
    program = """
import os, sys
from llmspell.cli.keeper import keep
sys.exit(keep(lambda keeper: 3, lambda: None, lambda: os.write(1, b"loaded")))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (3, b"")


def ended(pidfd: int) -> bool:
    """Return whether the process a descriptor stands for has ended."""
    return bool(select.select([pidfd], [], [], 0)[0])
