"""Who is at the other end of a socket, and whether it still does anything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from llmspell.bridge.hello import is_newer
from llmspell.bridge.peer import Process, Vigil, look_at
from tests.support.owners import wait_until


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def test_a_process_is_seen_as_what_it_does() -> None:
    with sleeper() as child:
        process = Process(child.pid)
        assert process.look() is not None
        child.send_signal(signal.SIGSTOP)
        wait_until(lambda: (seen := process.look()) and seen.state == "T", "it is stopped")
        assert process.kill()
    assert process.look() is None
    assert not process.kill()
    assert look_at(child.pid) is None


def test_another_process_with_the_same_id_is_not_taken_for_it() -> None:
    with sleeper() as child:
        process = Process(child.pid)
        process._started = 1  # pyright: ignore[reportPrivateUsage]  # as if begun at another time
        assert process.look() is None
        assert not process.kill()
        assert child.poll() is None
        child.kill()


def test_a_stopped_process_hangs_once_it_has_been_silent_for_long_enough() -> None:
    with sleeper() as child:
        child.send_signal(signal.SIGSTOP)
        process = Process(child.pid)
        wait_until(lambda: (seen := process.look()) and seen.state == "T", "it is stopped")
        vigil = Vigil(process, 100.0)
        assert not vigil.is_hung(104.9)
        assert vigil.remaining(104.0) == 1.0
        assert vigil.is_hung(105.0)
        child.kill()


def test_a_process_that_computes_is_busy_and_not_for_ever() -> None:
    vigil = Vigil(Process(os.getpid()), 100.0)
    assert not vigil.is_hung(105.0)
    assert not vigil.is_hung(129.0)
    assert vigil.is_hung(130.0)


def test_a_process_that_has_ended_is_not_waited_for() -> None:
    with sleeper() as child:
        vigil = Vigil(Process(child.pid), 100.0)
        child.kill()
    assert vigil.is_hung(105.0)


@pytest.mark.parametrize(
    ("ours", "theirs", "newer"),
    [
        ((2, "0.2.0"), (2, "0.1.9"), True),
        ((2, "0.10.0"), (2, "0.9.0"), True),
        ((2, "0.1.0"), (2, "0.1.0"), False),
        ((1, "9.0.0"), (2, "0.1.0"), False),
        ((3, "0.1.0"), (2, "9.0.0"), True),
        ((2, "1.0.0rc1"), (2, "1.0.0"), False),
        ((2, "0.1.0"), (1, ""), True),
        ((None, "9"), (1, "0.1"), False),
        ((2, 9), (1, "0.1"), False),
    ],
)
def test_which_of_two_builds_is_newer(
    ours: tuple[object, object], theirs: tuple[object, object], newer: bool
) -> None:
    assert is_newer(*ours, *theirs) is newer
