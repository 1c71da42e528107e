"""Where the kernel has no seccomp: it is said loudly, spells run, and the other walls stand.

Everything here runs in a process tree in which the kernel refuses filters.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmspell.runtime.engine import ScriptLimits
from llmspell.runtime.pool import room_for
from tests.attacks import unfiltered
from tests.support.servers import make_project

MISSING = "this Linux kernel has no seccomp filter"
IS_ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = make_project(tmp_path_factory.mktemp("unfiltered") / "project", ("hello",))
    yield root
    stopped = unfiltered.run("-m", "llmspell", "stop", cwd=root)
    assert stopped.returncode == 0, stopped.stderr


def llmspell(project: Path, *arguments: str) -> str:
    """Return what a command prints in a tree without seccomp."""
    done = unfiltered.run("-m", "llmspell", *arguments, cwd=project)
    assert done.returncode == 0, done.stderr
    return done.stdout


def native(directory: Path, *arguments: str) -> dict[str, str]:
    """Return what the kernel answered to native code in a jail without a filter."""
    done = unfiltered.run("-m", "tests.attacks.confined", *arguments, cwd=directory)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_info_says_loudly_that_there_is_no_filter(project: Path) -> None:
    (line,) = [
        line for line in llmspell(project, "info").splitlines() if line.startswith("isolation")
    ]
    assert line.split(maxsplit=1)[1].startswith(f"NO SYSTEM-CALL FILTER: {MISSING}")


def test_the_doctor_warns_that_there_is_no_filter(project: Path) -> None:
    findings: list[dict[str, Any]] = json.loads(llmspell(project, "doctor", "--json"))
    (found,) = [each for each in findings if each["name"] == "isolation"]
    assert found["verdict"] == "warning"
    assert found["detail"].startswith(f"NO SYSTEM-CALL FILTER: {MISSING}")
    assert "publish only spells whose authors you trust" in found["advice"]


def test_a_spell_is_cast_without_a_filter(project: Path) -> None:
    assert "Hello, Ada" in llmspell(project, "run", "hello", "--arg", "name=Ada")


def test_hostile_spells_end_as_they_must_without_a_filter(tmp_path: Path) -> None:
    done = unfiltered.run("-m", "tests.attacks.unfiltered_house", str(tmp_path / "h"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["missing"], found["isolation"]) == (MISSING, "limited")
    assert {name: end for name, end in found["ends"].items() if end != "as it must"} == {}
    assert len(found["ends"]) > 20
    room = room_for(ScriptLimits())
    assert found["worker"] == {
        "filters": 1,
        "no_new_privileges": True,
        "capabilities": 0,
        "limits": {
            "AS": [room, room],
            "CPU": [3600, 3600],
            "CORE": [0, 0],
            "FSIZE": [0, 0],
            "NOFILE": [0, 0],
            "NPROC": [0, 0],
        },
    }


def test_limits_alone_leave_native_code_no_new_file_process_or_memory(tmp_path: Path) -> None:
    answers = native(tmp_path, "ordinary")
    for act in ("open a file", "make a file", "open a socket", "open a pipe"):
        assert answers[act] == "EMFILE", act
    assert answers["take memory"] == "MemoryError"
    assert answers["fork"] == "EAGAIN"
    assert answers["raise a limit"] == "ValueError"


def test_limits_hold_in_a_worker_of_root_too(tmp_path: Path) -> None:
    answers = native(tmp_path)
    assert answers["open a file"] == "EMFILE"
    assert answers["raise a limit"] == "ValueError"
    if IS_ROOT:  # whose rights the worker put down, and so has fewer than the server
        assert answers["trace the server"] == "EPERM"


def test_what_only_the_filter_holds_is_as_the_documentation_says(tmp_path: Path) -> None:
    answers = native(tmp_path, "ordinary")
    open_ways = {"signal the server", "remove a file", "empty a file", "make a directory"}
    assert {act for act, answer in answers.items() if answer == "done"} >= open_ways
    if IS_ROOT:
        assert native(tmp_path)["fork"] == "done"  # Linux counts no processes of root
