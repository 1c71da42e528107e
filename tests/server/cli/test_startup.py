"""What a start loads: a client, or a person who asks for help, waits for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from llmspell import __version__
from llmspell.cli import hoist
from llmspell.cli.commands import MEANT
from tests.support import warm
from tests.support.owners import WAIT_SECONDS, OwnedProject
from tests.support.servers import environment

HEAVY = {"pydantic", "mcp", "a2a", "lupa", "rocksdict", "litellm", "starlette", "uvicorn"}
# The command line library itself checks the parameters of a command with pydantic.
OURS_TO_AVOID = HEAVY - {"pydantic"}

REPORT = """
import sys
before = set(sys.modules)
sys.argv = ["llmspell", *sys.argv[1:]]
try:
    {body}
except SystemExit:
    pass
print(*sorted(set(sys.modules) - before), sep="\\n", file=sys.stderr)
"""


def loaded(body: str, *arguments: str, project: OwnedProject | None = None) -> set[str]:
    """Return the modules that running `body` in a fresh interpreter loads."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT.format(body=body), *arguments],
        env=project.environment() if project else environment(),
        cwd=project.root if project else None,
        input="",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stderr.split())


def foreign(modules: set[str]) -> set[str]:
    """Return the modules that are neither Python's nor the small ones of ours."""
    ours = ("llmspell", "llmspell.bridge", "llmspell.cli")
    return {
        name
        for name in modules
        if name.partition(".")[0] not in sys.stdlib_module_names
        and name not in ours
        and not name.startswith("llmspell.bridge.")
    }


RUN = "from llmspell.cli import main; main()"


@pytest.mark.parametrize(
    ("body", "arguments"),
    [("import llmspell", ()), (RUN, ("--version",)), (RUN, ("stdio",))],
    ids=["import", "--version", "stdio"],
)
def test_the_quick_paths_load_the_standard_library_and_small_modules_only(
    shared: OwnedProject, body: str, arguments: tuple[str, ...]
) -> None:
    modules = loaded(body, *arguments, project=shared)
    assert foreign(modules) == set()
    assert "asyncio" not in modules
    assert "dataclasses" not in modules


def test_help_loads_no_heavy_library() -> None:
    assert HEAVY & loaded(RUN, "--help") == set()


@pytest.mark.parametrize(
    "command", ["run", "serve", "check", "call", "runs list", "runs answer", "state restore"]
)
def test_help_of_a_command_loads_nothing_of_what_it_will_use(command: str) -> None:
    assert OURS_TO_AVOID & loaded(RUN, *command.split(), "--help") == set()


def test_a_command_that_attaches_loads_no_library_of_the_owners(shared: OwnedProject) -> None:
    assert OURS_TO_AVOID & loaded(RUN, "run", "hello", project=shared) == set()


@pytest.mark.parametrize("group", [(), ("runs",), ("state",), ("keys",), ("spells",)], ids=str)
def test_no_line_of_a_list_of_commands_is_cut_off(group: tuple[str, ...]) -> None:
    columns = {**environment(), "COLUMNS": "80"}
    done = warm.run([*group, "--help"], cwd=Path.cwd(), env=columns)
    assert "Commands:" in done.stdout
    assert "..." not in done.stdout.partition("Commands:")[2]


@pytest.mark.parametrize(("given", "meant"), MEANT.items())
def test_a_command_that_has_another_name_elsewhere_is_told(given: str, meant: str) -> None:
    done = warm.llmspell(given, cwd=Path.cwd())
    assert done.returncode == 2
    assert f"hint: did you mean 'llmspell {meant}'?" in done.stderr
    assert warm.llmspell(*meant.split(), "--help", cwd=Path.cwd()).returncode == 0


def test_the_version_is_printed(shared: OwnedProject) -> None:
    assert shared.run("--version").stdout == f"llmspell {__version__}\n"


def test_global_options_are_found_wherever_they_stand() -> None:
    assert hoist(["run", "--state", "s", "x", "--project=p"]) == (
        ["--state", "s", "--project", "p"],
        ["run", "x"],
    )
    assert hoist(["exec", "--", "--state", "s"]) == ([], ["exec", "--", "--state", "s"])
    assert hoist(["run", "--state"]) == ([], ["run", "--state"])


def test_runs_are_listed_by_their_state_in_a_state_directory_named_before() -> None:
    assert hoist(["--state", "s", "runs", "list", "--state", "failed", "--project", "p"]) == (
        ["--state", "s", "--project", "p"],
        ["runs", "list", "--state", "failed"],
    )
    assert hoist(["runs", "show", "--state", "s", "x"]) == (["--state", "s"], ["runs", "show", "x"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "hello", "--arg", "name=you"),
        ("exec", "return 6 * 7"),
        ("repl",),
        ("check",),
        ("test",),
        ("call", "http://127.0.0.1:9", "hi"),
        ("spells",),
        ("spells", "show", "hello"),
        ("install", "cursor", "--print"),
        ("uninstall", "cursor"),
        ("mcpb", "hello.mcpb", "--force"),
        ("keys", "list"),
        ("keys", "add", "x", "--scope", "write"),
        ("runs", "list", "--state", "failed"),
        ("runs", "show", "zzz"),
        ("state", "set", "key"),
        ("state", "scan", "none/"),
        ("state", "verify"),
        ("serve", "--port", "70000"),
        ("stdio",),
    ],
    ids=" ".join,
)
def test_a_command_that_starts_from_nothing_does_as_one_that_finds_all_loaded(
    shared: OwnedProject, arguments: tuple[str, ...]
) -> None:
    """Most other tests run commands the second way (`tests/support/warm.py`)."""
    anew = shared.start_anew(*arguments)
    printed, errors = anew.communicate(b"1 + 1\n", WAIT_SECONDS)
    found = shared.run(*arguments, input="1 + 1\n")
    assert found.returncode == anew.returncode
    assert found.stdout == printed.decode()
    assert found.stderr == errors.decode()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--bogus",),
        ("nosuch",),
        ("run",),
        ("run", "hello", "--bogus"),
        ("run", "hello", "--log-level", "loud"),
        ("run", "hello", "--log-format", "xml"),
        ("run", "hello", "--config", "missing.toml"),
        ("stdio", "extra"),
    ],
)
def test_a_command_line_without_meaning_is_a_usage_error_on_stderr(
    shared: OwnedProject, arguments: tuple[str, ...]
) -> None:
    done = shared.run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr != ""
    assert "Traceback" not in done.stderr
