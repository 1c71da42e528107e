"""Who owns a state directory: a lock that dies with its holder."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmspell.errors import StateError, StateOwned
from llmspell.host.host import Host
from llmspell.host.lock import Holder, OwnerLock, holder_of, owner_pid
from tests.support.servers import environment, make_project

HOLD = """
import sys
from pathlib import Path
from llmspell.host.host import Host
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


def test_the_holder_says_who_keeps_it(tmp_path: Path) -> None:
    lock = OwnerLock.take(tmp_path, keeper=17)
    assert holder_of(tmp_path) == Holder(os.getpid(), 17)
    assert owner_pid(tmp_path) == os.getpid()
    lock.release()


def no_locks(descriptor: int, operation: int) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


def locks_that_exclude_nobody(descriptor: int, operation: int) -> None:
    pass


@pytest.mark.parametrize("flock", [no_locks, locks_that_exclude_nobody])
def test_a_directory_where_locks_do_not_work_is_refused_with_what_to_do(
    tmp_path: Path, flock: Callable[[int, int], None]
) -> None:
    with pytest.raises(StateError, match="locks do not work") as refused:
        OwnerLock.take(tmp_path, flock=flock)
    assert "--state" in refused.value.hint
    OwnerLock.take(tmp_path).release()


async def test_a_host_opened_in_this_process_owns_its_state_and_is_refused_where_another_does(
    tmp_path: Path,
) -> None:
    project = make_project(tmp_path / "p", ("hello",))
    state = project / ".llmspell"
    async with Host.open(project, watch=False, environ={}):
        assert owner_pid(state) == os.getpid()
    assert owner_pid(state) is None
    with holding(state) as process:
        with pytest.raises(StateOwned) as refused:
            async with Host.open(project, watch=False, environ={}):
                pass
        assert refused.value.data["pid"] == process.pid
