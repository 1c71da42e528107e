"""Commands whose arguments, output or surroundings are not what one would wish."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.owners import WAIT_SECONDS, OwnedProject
from tests.support.servers import LLMSPELL, environment


def run(
    project: OwnedProject, *arguments: str | bytes, input: bytes = b"", **environ: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a process of its own, so that its streams are the ones it gets."""
    return subprocess.run(
        [*LLMSPELL, *arguments],
        cwd=project.root,
        env={**environment(), **environ},
        input=input,
        capture_output=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


def test_what_the_outputs_encoding_lacks_is_written_as_json_writes_it(
    shared: OwnedProject,
) -> None:
    done = run(shared, "exec", 'return { a = "ä日😀" }', PYTHONIOENCODING="latin-1")
    assert done.returncode == 0, done.stderr
    assert done.stdout == b'{\n  "a": "\xe4\\u65e5\\ud83d\\ude00"\n}\n'
    done = run(shared, "exec", 'return { a = "ä日😀" }', PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout) == {"a": "ä日😀"}


def test_an_argument_that_is_no_text_is_a_mistake_of_usage(shared: OwnedProject) -> None:
    done = run(shared, "run", "hello", "--arg", b"name=\xff")
    assert (done.stdout, done.returncode) == (b"", 2)
    assert b"the argument 'name=\\xff' is not utf-8 {code: usage.invalid}" in done.stderr


def test_a_stdin_that_is_no_text_is_a_mistake_of_usage(shared: OwnedProject) -> None:
    done = run(shared, "run", "hello", "--input", "-", input=b"\xff", PYTHONUTF8="0")
    assert (done.stdout, done.returncode) == (b"", 2)
    assert b"stdin is not utf-8 {code: usage.invalid}" in done.stderr


@pytest.mark.parametrize("arguments", [("run", "hello"), ("spells",), ("--help",)], ids=str)
def test_a_full_disk_under_stdout_is_told(shared: OwnedProject, arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*LLMSPELL, *arguments],
            cwd=shared.root,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=WAIT_SECONDS,
            check=False,
        )
    assert done.stderr == b"the output could not be written: No space left on device\n"
    assert done.returncode == 1


def test_a_command_without_stdout_does_what_it_should(shared: OwnedProject) -> None:
    script = f"exec {shlex.join(LLMSPELL)} run hello >&-"
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=shared.root,
        env=environment(),
        stderr=subprocess.PIPE,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert (done.stderr, done.returncode) == (b"", 0)


def test_ctrl_c_while_a_command_is_being_loaded_ends_it_without_a_word(tmp_path: Path) -> None:
    # Loading `typer` then stops, for as long as the signal takes to come.
    (tmp_path / "typer.py").write_text(
        "import os, sys, time\nos.write(1, b'.')\ntime.sleep(60)\n", encoding="utf-8"
    )
    command = subprocess.Popen(
        [sys.executable, "-c", "from llmspell.cli import main; main()", "spells"],
        cwd=tmp_path,
        env={**environment(), "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert command.stdout is not None
    assert command.stdout.read(1) == b"."
    command.send_signal(signal.SIGINT)
    _, said = command.communicate(timeout=WAIT_SECONDS)
    assert (said, command.returncode) == (b"", 130)


@pytest.mark.skipif(os.getuid() == 0 and shutil.which("setpriv") is None, reason="root may write")
@pytest.mark.parametrize("arguments", [("serve",), ("stdio", "--standalone"), ("run", "hello")])
def test_a_project_that_can_not_be_written_to_is_told(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "llmspell.toml").touch()
    project.chmod(0o555)
    done = powerless([*LLMSPELL, *arguments], project)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"the state directory '{project}/.llmspell' can't be used: Permission" in done.stderr
    assert "hint: choose another with --state DIR" in done.stderr


@pytest.mark.skipif(os.getuid() == 0 and shutil.which("setpriv") is None, reason="root may write")
@pytest.mark.parametrize("command", ["init", "demo"])
def test_a_directory_that_can_not_be_made_is_told(command: str, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    done = powerless([*LLMSPELL, command, "closed/new"], tmp_path)
    assert done.returncode == 2
    assert "Permission denied {code: usage.invalid}" in done.stderr
    assert f"hint: name another directory: llmspell {command} DIR" in done.stderr


def powerless(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that has to respect permissions, whoever runs the tests."""
    if os.getuid() == 0:
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
