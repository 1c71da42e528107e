"""What a command line says that is not understood: one form, a code, a hint, JSON on demand."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support import warm
from tests.support.owners import WAIT_SECONDS, OwnedProject
from tests.support.servers import LLMSPELL, environment


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (("frob",), "no such command 'frob'", "llmspell [OPTIONS] COMMAND [ARGS]...; see"),
        (("runn",), "Did you mean 'run', 'runs'?", "see 'llmspell --help'"),
        (("--frob",), "no such option: --frob", "see 'llmspell --help'"),
        (("run",), "missing argument 'FILE_OR_NAME'", "see 'llmspell run --help'"),
        (("run", "hello", "--inptu", "x"), "no such option: --inptu", "llmspell run [OPTIONS]"),
        (("run", "hello", "Ada"), "(Ada)", "the input is given with --input or --arg KEY=VALUE"),
        (("exec", "return", "1"), "(1)", "put it in quotes"),
        (("spells", "list"), "no such command 'list'", "'llmspell spells' lists them"),
        (("runs", "list", "--limit", "x"), "'--limit'", "see 'llmspell runs list --help'"),
    ],
)
def test_a_command_line_that_is_not_understood_is_an_error_like_any_other(
    arguments: tuple[str, ...], message: str, hint: str, tmp_path: Path
) -> None:
    done = warm.llmspell(*arguments, cwd=tmp_path)
    assert (done.stdout, done.returncode) == ("", 2)
    first, second = done.stderr.splitlines()
    assert message in first
    assert first.endswith("{code: usage.invalid}")
    assert second.startswith("  hint: ")
    assert hint in second


def test_a_group_without_a_command_shows_what_it_has(tmp_path: Path) -> None:
    done = warm.llmspell("runs", cwd=tmp_path)
    assert done.returncode == 2
    assert "Commands:" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (("run", "nosuch"), "spell.not_found", 1),
        (("run", "hello", "--arg", "nme=x"), "input.invalid", 1),
        (("run", "hello", "--arg", "name"), "usage.invalid", 2),
        (("run", "hello", "Ada"), "usage.invalid", 2),
        (("runs", "show", "nosuch"), "run.not_found", 1),
        (("spells", "show", "nosuch"), "spell.not_found", 1),
        (("check", "missing.lua"), "usage.invalid", 2),
    ],
)
def test_who_asks_for_json_gets_an_error_as_json_too(
    arguments: tuple[str, ...], code: str, status: int, shared: OwnedProject
) -> None:
    done = shared.run(*arguments, "--json")
    assert done.returncode == status
    error = json.loads(done.stdout)["error"]
    assert error["code"] == code
    assert f"{error['message']} {{code: {code}}}" in done.stderr


def test_json_behind_two_dashes_is_asked_for_by_nobody(shared: OwnedProject) -> None:
    done = shared.run("run", "--", "nosuch", "--json")
    assert (done.stdout, done.returncode) == ("", 2)


@pytest.mark.parametrize("arguments", [("spells", "--json"), ("run", "nosuch", "--json")], ids=str)
def test_a_reader_that_has_left_ends_a_command_without_a_word_of_its_own(
    shared: OwnedProject, arguments: tuple[str, ...]
) -> None:
    process = subprocess.Popen(
        [*LLMSPELL, *arguments],
        cwd=shared.root,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 1
    assert "Traceback" not in said
    assert "Broken pipe" not in said
