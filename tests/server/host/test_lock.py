"""Who owns a state directory: a lock that dies with its holder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmspell.errors import StateOwned
from llmspell.host.lock import OwnerLock, owner_pid
from tests.support.servers import environment

HOLD = """
import sys
from pathlib import Path
from llmspell.host.lock import OwnerLock
lock = OwnerLock.take(Path(sys.argv[1]))
print("taken", flush=True)
sys.stdin.read()
"""


@contextmanager
def holding(state: Path) -> Generator[subprocess.Popen[bytes]]:
    """Run a process that holds the lock until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(state)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"taken\n"
        yield process


def test_a_directory_has_one_owner_at_a_time(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert owner_pid(state) is None
    first = OwnerLock.take(state)
    assert owner_pid(state) == os.getpid()
    with pytest.raises(StateOwned) as refused:
        OwnerLock.take(state)
    assert refused.value.data["pid"] == os.getpid()
    first.release()
    first.release()
    assert owner_pid(state) is None
    OwnerLock.take(state).release()


def test_a_lock_dies_with_the_process_that_holds_it(tmp_path: Path) -> None:
    with holding(tmp_path) as process:
        assert owner_pid(tmp_path) == process.pid
        with pytest.raises(StateOwned, match=str(process.pid)):
            OwnerLock.take(tmp_path)
        process.kill()
    OwnerLock.take(tmp_path).release()


async def test_an_owner_that_is_about_to_end_is_waited_for(tmp_path: Path) -> None:
    with holding(tmp_path) as process:
        with pytest.raises(StateOwned):
            await OwnerLock.take_soon(tmp_path, seconds=0)
        assert process.stdin is not None
        process.stdin.close()
        (await OwnerLock.take_soon(tmp_path, seconds=10)).release()


def test_the_lock_file_is_for_this_user_only(tmp_path: Path) -> None:
    lock = OwnerLock.take(tmp_path / "state")
    assert (tmp_path / "state" / "owner.lock").stat().st_mode & 0o777 == 0o600
    lock.release()
