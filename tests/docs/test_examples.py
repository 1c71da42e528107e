"""The examples of README and docs are true: their spells load, their sessions print what they say.

A `lua` block is a whole spell file, or a whole test file when it begins with `describe(`. A
`console` block is a session in a fresh project that holds the spells of its page; lines that begin
with `$ llmspell` are run, and must print the lines that follow them, where a line of `...` stands
for any lines. A block whose fence names a file is that file of the project. A `toml` block is a
settings file, a `python` block a program beside a project
`my-spells`. Commands in other blocks are not run; they must be commands there are.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperCommand, TyperGroup

from llmspell.cli import hoist
from llmspell.cli.app import app
from llmspell.config import Settings
from tests.support.markdown import Block, blocks
from tests.support.servers import environment, make_project
from tests.support.warm import llmspell

SPELLS = list(blocks("lua"))
SESSIONS = list(blocks("console"))
FILES = [block for block in blocks("json") if block.file]
PLAIN = [*blocks(""), *blocks("sh")]


def name_of(block: Block) -> str:
    """Return the file name of an example: its spell's name, as `init` would name it."""
    if block.text.startswith("describe("):
        return f"example_{block.line}_test"
    named = re.search(r'^\s*name\s*=\s*"(\w+)"', block.text, re.MULTILINE)
    return named[1] if named else f"example_{block.line}"


def project_of(page: Path, directory: Path) -> Path:
    project = make_project(directory, [])
    for block in SPELLS:
        if block.page == page:
            target = project / "spells" / f"{name_of(block)}.lua"
            target.write_text(block.text, encoding="utf-8")
    for block in FILES:
        if block.page == page:
            (project / block.file).write_text(block.text, encoding="utf-8")
    return project


def commands(block: Block) -> list[tuple[str, list[str]]]:
    """Return each command of a session with the lines it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
    return found


def pattern_of(lines: list[str]) -> str:
    return "".join(r"(.*\n)*" if line == "..." else re.escape(line) + r"\n" for line in lines)


def test_there_are_examples_to_run() -> None:
    assert SPELLS
    assert SESSIONS


@pytest.mark.parametrize("page", sorted({block.page for block in SPELLS}), ids=str)
def test_the_spells_of_a_page_pass_the_check(page: Path, tmp_path: Path) -> None:
    checked = llmspell("check", cwd=project_of(page, tmp_path / "project"))
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("block", SESSIONS, ids=str)
def test_a_session_prints_what_the_page_says(block: Block, tmp_path: Path) -> None:
    project = project_of(block.page, tmp_path / "project")
    try:
        for command, lines in commands(block):
            program, *arguments = shlex.split(command)
            assert program == "llmspell", f"{block}: a console block runs llmspell only"
            done = llmspell(*arguments, cwd=project)
            assert re.fullmatch(pattern_of(lines), done.stdout), done.stdout + done.stderr
    finally:
        llmspell("stop", cwd=project)


@pytest.mark.parametrize("block", PLAIN, ids=str)
def test_a_command_that_is_shown_exists_with_its_options(block: Block) -> None:
    for line in block.text.splitlines():
        program, *rest = shlex.split(line.partition("/bin/")[2] or line, comments=True) or [""]
        if program != "llmspell":
            continue
        _, arguments = hoist(rest)
        command = typer.main.get_command(app)
        known = {name for option in command.params for name in option.opts} | {"--help"}
        for argument in arguments:
            if isinstance(command, TyperGroup) and not argument.startswith("-"):
                assert argument in command.commands, f"{block}: {line}"
                command = command.commands[argument]
                assert isinstance(command, TyperCommand | TyperGroup)
                known |= {name for option in command.params for name in option.opts}
            elif argument.startswith("--"):
                assert argument.partition("=")[0] in known, f"{block}: {line}"


@pytest.mark.parametrize("block", list(blocks("toml")), ids=str)
def test_settings_that_are_shown_are_allowed(block: Block) -> None:
    Settings.model_validate(tomllib.loads(block.text))


@pytest.mark.parametrize("block", list(blocks("json")), ids=str)
def test_json_that_is_shown_is_one_document_or_one_frame_a_line(block: Block) -> None:
    whole = block.text.lstrip().startswith("[") or block.text.startswith("{\n")
    for document in [block.text] if whole else block.text.splitlines():
        json.loads(document)


@pytest.mark.parametrize("block", list(blocks("python")), ids=str)
def test_a_program_that_is_shown_runs(block: Block, tmp_path: Path) -> None:
    made = llmspell("init", "my-spells", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    body = textwrap.indent(block.text, "    ")
    program = f"import asyncio\n\nasync def main():\n{body}\nasyncio.run(main())\n"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
