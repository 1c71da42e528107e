"""Failpoints: nothing unless they are armed, and then always in the same place."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from llmspell import failpoints
from tests.support.servers import environment


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


def test_a_failpoint_that_is_not_armed_does_nothing() -> None:
    failpoints.hit("run.after_end")
    failpoints.arm("another:error")
    failpoints.hit("run.after_end")


def test_an_armed_error_is_raised_with_the_failpoints_name() -> None:
    failpoints.arm("run.after_end:error")
    with pytest.raises(failpoints.FailpointError, match=r"run\.after_end"):
        failpoints.hit("run.after_end")


def test_several_are_armed_at_once_and_the_empty_text_disarms_all() -> None:
    failpoints.arm(" a:error , b:error,")
    for name in "ab":
        with pytest.raises(failpoints.FailpointError):
            failpoints.hit(name)
    failpoints.arm("")
    failpoints.hit("a")
    failpoints.hit("b")


def test_arming_anew_forgets_what_was_armed() -> None:
    failpoints.arm("a:error")
    failpoints.arm("b:error")
    failpoints.hit("a")


@pytest.mark.parametrize("spec", ["a", "a:", "a:explode", "a:error:kill"])
def test_an_action_that_does_not_exist_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="is none of"):
        failpoints.arm(spec)


def test_an_armed_kill_ends_the_process_at_once() -> None:
    code = (
        "from llmspell import failpoints\n"
        "failpoints.arm('here:kill')\n"
        "print('before', flush=True)\n"
        "failpoints.hit('here')\n"
        "print('after', flush=True)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == "before\n"
