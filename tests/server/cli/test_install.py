"""`install` and `uninstall`: an entry gets into each client's file and out without a trace."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import warm
from tests.support.owners import OwnedProject
from tests.support.servers import environment, llmspell, make_project

SECRET = "ghp_0123456789"
NEIGHBOUR = (
    "{\r\n"
    '\t// what I use\r\n\t"mcpServers": {\r\n'
    '\t\t"github": {"command": "gh", "env": {"TOKEN": "ghp_0123456789"}} // ghp_0123456789\r\n'
    '\t},\r\n\t"theme": "dark",\r\n}'
)


@dataclass(frozen=True)
class Machine:
    """A home directory, a project, and the commands somebody gives there."""

    home: Path
    project: Path
    path: str

    @property
    def desktop(self) -> Path:
        return self.home / ".config" / "Claude" / "claude_desktop_config.json"

    @property
    def cursor(self) -> Path:
        return self.home / ".cursor" / "mcp.json"

    @property
    def claude(self) -> Path:
        return self.home / ".claude.json"

    def run(self, *arguments: str, project: Path | None = None) -> subprocess.CompletedProcess[str]:
        settings = {"HOME": str(self.home), "PATH": self.path}
        kept = {
            name: value
            for name, value in environment().items()
            if not name.startswith(("XDG_", "CLAUDE_"))
        }
        return warm.run(
            ["--project", str(project or self.project), *arguments],
            cwd=self.home,
            env={**kept, **settings},
        )

    def install(self, *arguments: str) -> str:
        done = self.run("install", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def uninstall(self, *arguments: str) -> str:
        done = self.run("uninstall", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def files(self) -> dict[str, bytes]:
        """Return every file and directory under the home directory."""
        found: dict[str, bytes] = {}
        for path in sorted(self.home.rglob("*")):
            name = str(path.relative_to(self.home))
            if not name.startswith(".local"):
                found[name] = path.read_bytes() if path.is_file() else b""
        return found

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    home = tmp_path.resolve() / "home"
    home.mkdir()
    (home / "bin").mkdir()
    project = make_project(home / "project", ("hello",))
    return Machine(home, project, f"{home / 'bin'}:/usr/bin:/bin")


def entry_in(path: Path, *keys: str) -> dict[str, Any]:
    value = json.loads(path.read_text(encoding="utf-8"))
    for key in keys:
        value = value[key]
    return value


SITES = [
    ("claude-desktop", "user", ".config/Claude/claude_desktop_config.json", ("mcpServers",)),
    ("claude-code", "project", "project/.mcp.json", ("mcpServers",)),
    ("claude-code", "user", ".claude.json", ("mcpServers",)),
    ("vscode", "project", "project/.vscode/mcp.json", ("servers",)),
    ("vscode", "user", ".config/Code/User/mcp.json", ("servers",)),
    ("cursor", "project", "project/.cursor/mcp.json", ("mcpServers",)),
    ("cursor", "user", ".cursor/mcp.json", ("mcpServers",)),
    ("gemini", "user", ".gemini/settings.json", ("mcpServers",)),
    ("gemini", "project", "project/.gemini/settings.json", ("mcpServers",)),
]


@pytest.mark.parametrize(("client", "scope", "file", "keys"), SITES)
def test_an_entry_gets_into_a_clients_file_and_out_without_a_trace(
    machine: Machine, client: str, scope: str, file: str, keys: tuple[str, ...]
) -> None:
    before = machine.files()
    shown = machine.install(client, "--scope", scope)
    path = machine.home / file
    entry = entry_in(path, *keys, "llmspell")
    assert entry.get("type", "stdio") == "stdio"
    assert os.path.isabs(entry["command"])
    assert entry["args"][-3:] == ["--project", str(machine.project), "stdio"]
    assert shown.startswith(f"--- /dev/null\n+++ {path}\n@@ -0,0 +1,")
    machine.uninstall(client, "--scope", scope)
    assert machine.files() == before


@pytest.mark.parametrize("client", ["claude-desktop", "claude-code", "vscode", "cursor", "gemini"])
def test_outside_of_a_project_an_entry_is_for_the_user(machine: Machine, client: str) -> None:
    [file, keys] = next(site[2:] for site in SITES if site[:2] == (client, "user"))
    before = machine.files()
    own = machine.home / ".local" / "share" / "llmspell"
    done = machine.run("install", client, project=own)
    assert done.returncode == 0, done.stderr
    assert str(own) in entry_in(machine.home / file, *keys, "llmspell")["args"]
    assert machine.run("uninstall", client, project=own).returncode == 0
    assert machine.files() == before


@pytest.mark.parametrize(
    "text",
    [
        NEIGHBOUR,
        "{}",
        "{ }\n",
        "{\n}\n",
        '{"mcpServers":{}}',
        '{"mcpServers": {"a": {"command": "x"}}, "b": [1,2]}',
        '{\n    "mcpServers": {\n        // none\n    }\n}\n',
        "\ufeff{\n}\n",
        "",
        "// later\n",
    ],
)
def test_a_file_is_after_uninstalling_what_it_was_to_the_byte(machine: Machine, text: str) -> None:
    machine.write(machine.cursor, text)
    machine.cursor.chmod(0o640)
    before = machine.files()
    machine.install("cursor", "--scope", "user")
    backup = machine.cursor.with_name("mcp.json.llmspell-backup")
    assert backup.read_bytes() == text.encode()
    for path in (machine.cursor, backup):
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    machine.uninstall("cursor", "--scope", "user")
    assert machine.files() == before
    assert stat.S_IMODE(machine.cursor.stat().st_mode) == 0o640


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_two_entries_can_go_in_any_order(machine: Machine, order: tuple[str, str]) -> None:
    machine.write(machine.cursor, "{}")
    before = machine.files()
    for name in ("one", "two"):
        machine.install("cursor", "--scope", "user", "--name", name)
    for name in order:
        assert name in entry_in(machine.cursor, "mcpServers")
        machine.uninstall("cursor", "--scope", "user", "--name", name)
    assert machine.files() == before


def test_what_changes_is_shown_and_no_secret_of_a_neighbour(machine: Machine) -> None:
    machine.write(machine.cursor, NEIGHBOUR)
    shown = machine.install("cursor", "--scope", "user")
    assert "+++ " in shown
    assert f'"{machine.project}"' in shown
    assert '"github"' in shown
    assert "theme" not in shown
    assert SECRET not in shown
    shown = machine.uninstall("cursor", "--scope", "user")
    assert '-\t\t"llmspell": {\n' in shown
    assert SECRET not in shown


def test_installing_twice_changes_nothing(machine: Machine) -> None:
    machine.write(machine.cursor, NEIGHBOUR)
    machine.install("cursor", "--scope", "user")
    before = machine.files()
    again = machine.run("install", "cursor", "--scope", "user")
    assert (again.returncode, again.stdout) == (0, "")
    assert "already" in again.stderr
    assert machine.files() == before


def test_an_entry_that_has_moved_is_brought_up_to_date_and_keeps_what_was_added(
    machine: Machine,
) -> None:
    machine.write(machine.cursor, "{}\n")
    machine.install("cursor", "--scope", "user")
    text = machine.cursor.read_text(encoding="utf-8")
    moved = json.loads(text)
    moved["mcpServers"]["llmspell"] |= {"command": "/gone/llmspell", "env": {"A": "b"}}
    machine.write(machine.cursor, json.dumps(moved))
    machine.install("cursor", "--scope", "user")
    entry = entry_in(machine.cursor, "mcpServers", "llmspell")
    assert entry["command"].startswith(os.path.dirname(sys.executable))
    assert entry["env"] == {"A": "b"}


def test_an_update_is_undone_with_what_it_updated(machine: Machine) -> None:
    machine.write(machine.cursor, NEIGHBOUR)
    before = machine.files()
    machine.install("cursor", "--scope", "user")
    machine.install("cursor", "--scope", "user", "--state", str(machine.home / "state"))
    text = machine.cursor.read_text(encoding="utf-8")
    assert "--state" in text
    machine.uninstall("cursor", "--scope", "user")
    assert machine.files() == before


def test_after_somebody_edited_the_file_only_the_entry_goes(machine: Machine) -> None:
    machine.install("cursor", "--scope", "user")
    value = json.loads(machine.cursor.read_text(encoding="utf-8"))
    value["mcpServers"]["theirs"] = {"command": "x"}
    machine.write(machine.cursor, json.dumps(value, indent=4))
    machine.uninstall("cursor", "--scope", "user")
    assert machine.cursor.read_text(encoding="utf-8") == json.dumps(
        {"mcpServers": {"theirs": {"command": "x"}}}, indent=4
    )


def test_what_was_made_for_the_entry_goes_though_the_file_was_written_anew(
    machine: Machine,
) -> None:
    machine.write(machine.cursor, '{"theme": 1}')
    machine.install("cursor", "--scope", "user")
    value = json.loads(machine.cursor.read_text(encoding="utf-8"))
    machine.write(machine.cursor, json.dumps(value))
    machine.uninstall("cursor", "--scope", "user")
    assert json.loads(machine.cursor.read_text(encoding="utf-8")) == {"theme": 1}
    before = machine.files()
    machine.uninstall("cursor", "--scope", "user")
    assert machine.files() == before


def test_without_its_records_an_entry_is_taken_out_by_what_the_file_says(machine: Machine) -> None:
    machine.write(machine.cursor, NEIGHBOUR)
    machine.install("cursor", "--scope", "user")
    (machine.home / ".local/share/llmspell/installed.json").unlink()
    machine.uninstall("cursor", "--scope", "user")
    assert machine.cursor.read_bytes() == NEIGHBOUR.encode()


def test_records_hold_nothing_of_others_and_are_private(machine: Machine) -> None:
    machine.write(machine.cursor, NEIGHBOUR)
    machine.install("cursor", "--scope", "user")
    records = machine.home / ".local/share/llmspell/installed.json"
    assert SECRET not in records.read_text(encoding="utf-8")
    assert stat.S_IMODE(records.stat().st_mode) == 0o600
    machine.uninstall("cursor", "--scope", "user")
    assert not records.exists()


def test_damaged_records_are_named_and_nothing_is_written(machine: Machine) -> None:
    machine.write(machine.home / ".local/share/llmspell/installed.json", "[")
    done = machine.run("install", "cursor")
    assert done.returncode == 1
    assert "installed.json" in done.stderr
    assert not (machine.project / ".cursor").exists()


def test_a_file_behind_a_symbolic_link_is_edited_and_the_link_stays(machine: Machine) -> None:
    kept = machine.home / "dotfiles" / "mcp.json"
    machine.write(kept, NEIGHBOUR)
    machine.cursor.parent.mkdir()
    machine.cursor.symlink_to(kept)
    machine.install("cursor", "--scope", "user")
    assert machine.cursor.is_symlink()
    assert b"llmspell" in kept.read_bytes()
    assert (kept.parent / "mcp.json.llmspell-backup").exists()
    machine.uninstall("cursor", "--scope", "user")
    assert machine.cursor.is_symlink()
    assert kept.read_bytes() == NEIGHBOUR.encode()


def test_a_file_that_is_not_json_is_refused_with_its_line_and_left_alone(machine: Machine) -> None:
    for text, line in (("{\n  oops\n}", 2), ('{\n"mcpServers": []\n}', 2), ("[]", 1)):
        machine.write(machine.cursor, text)
        before = machine.files()
        done = machine.run("install", "cursor", "--scope", "user")
        assert done.returncode == 1
        assert f"{machine.cursor}:{line}: " in done.stderr
        assert "client.file" in done.stderr
        assert machine.files() == before


def test_a_file_that_is_not_utf_8_is_refused(machine: Machine) -> None:
    machine.write(machine.cursor, "")
    machine.cursor.write_bytes(b'{"a": "\xff"}')
    done = machine.run("install", "cursor", "--scope", "user")
    assert done.returncode == 1
    assert "not UTF-8" in done.stderr
    assert machine.cursor.read_bytes() == b'{"a": "\xff"}'


def test_an_entry_of_somebody_else_is_neither_replaced_nor_removed(machine: Machine) -> None:
    machine.write(machine.cursor, '{"mcpServers": {"llmspell": {"command": "their-server"}}}')
    before = machine.files()
    for command in ("install", "uninstall"):
        done = machine.run(command, "cursor", "--scope", "user")
        assert done.returncode == 2
        assert "--name" in done.stderr
        assert machine.files() == before
    machine.install("cursor", "--scope", "user", "--name", "spells")
    assert set(entry_in(machine.cursor, "mcpServers")) == {"llmspell", "spells"}


def test_an_entry_of_another_project_is_not_replaced(machine: Machine) -> None:
    other = make_project(machine.home / "other", ())
    machine.install("cursor", "--scope", "user")
    done = machine.run("install", "cursor", "--scope", "user", project=other)
    assert done.returncode == 2
    assert str(machine.project) in done.stderr
    assert "--name" in done.stderr


def test_uninstalling_what_is_not_there_says_so(machine: Machine) -> None:
    before = machine.files()
    done = machine.run("uninstall", "gemini")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no 'llmspell'" in done.stderr
    assert machine.files() == before


def test_the_entry_names_the_settings_and_the_state_it_was_made_with(machine: Machine) -> None:
    settings = machine.home / "other.toml"
    settings.write_text("", encoding="utf-8")
    machine.install("cursor", "--state", "st", "--config", "other.toml")
    arguments = entry_in(machine.project / ".cursor/mcp.json", "mcpServers", "llmspell")["args"]
    assert arguments[arguments.index("--state") + 1] == str(machine.home / "st")
    assert arguments[arguments.index("--config") + 1] == str(settings)


# -- Claude Code, which is told when its own program is there

CLAUDE = """#!{python}
import json, os, sys
path = os.path.join(os.environ["HOME"], ".claude.json")
held = json.load(open(path)) if os.path.exists(path) else {{}}
servers = held.setdefault("mcpServers", {{}})
arguments = sys.argv[1:]
with open(os.path.join(os.environ["HOME"], "told"), "a") as file:
    print(os.getcwd(), *arguments, file=file)
if arguments[:2] == ["mcp", "add"]:
    at = arguments.index("--")
    name, command = arguments[at - 1], arguments[at + 1:]
    if name in servers:
        sys.exit("MCP server " + name + " already exists")
    servers[name] = {{"type": "stdio", "command": command[0], "args": command[1:], "env": {{}}}}
else:
    del servers[arguments[-1]]
json.dump(held, open(path, "w"))
"""


def have_claude(machine: Machine, text: str = CLAUDE) -> None:
    program = machine.home / "bin" / "claude"
    program.write_text(text.format(python=sys.executable), encoding="utf-8")
    program.chmod(0o755)


def test_claude_code_is_told_of_its_own_file_where_its_program_is_there(machine: Machine) -> None:
    have_claude(machine)
    machine.install("claude-code", "--scope", "user")
    assert entry_in(machine.claude, "mcpServers", "llmspell")["args"][-1] == "stdio"
    again = machine.run("install", "claude-code", "--scope", "user")
    assert "already" in again.stderr
    machine.uninstall("claude-code", "--scope", "user")
    assert entry_in(machine.claude, "mcpServers") == {}
    first, second = (machine.home / "told").read_text(encoding="utf-8").splitlines()
    assert first.startswith(f"{machine.project} mcp add --scope user --transport stdio llmspell --")
    assert second == f"{machine.project} mcp remove --scope user llmspell"
    assert "no 'llmspell'" in machine.run("uninstall", "claude-code", "--scope", "user").stderr


def test_claude_codes_project_file_is_written_even_so(machine: Machine) -> None:
    have_claude(machine)
    machine.install("claude-code")
    assert (machine.project / ".mcp.json").exists()
    assert not (machine.home / "told").exists()


def test_what_claude_codes_program_complains_of_is_passed_on(machine: Machine) -> None:
    have_claude(machine, "#!/bin/sh\necho 'not logged in' >&2\nexit 1\n")
    done = machine.run("install", "claude-code", "--scope", "local")
    assert done.returncode == 1
    assert "not logged in" in done.stderr


def test_an_entry_for_one_project_stands_under_that_project_in_claude_codes_file(
    machine: Machine,
) -> None:
    machine.write(machine.claude, json.dumps({"numStartups": 3, "projects": {"/x": {}}}, indent=2))
    before = machine.files()
    machine.install("claude-code", "--scope", "local")
    entry = entry_in(machine.claude, "projects", str(machine.project), "mcpServers", "llmspell")
    assert entry["type"] == "stdio"
    machine.uninstall("claude-code", "--scope", "local")
    assert machine.files() == before


# -- only printed


@pytest.mark.parametrize(("client", "scope", "file", "keys"), SITES)
def test_print_shows_the_entry_and_where_it_goes_and_writes_nothing(
    machine: Machine, client: str, scope: str, file: str, keys: tuple[str, ...]
) -> None:
    before = machine.files()
    done = machine.run("install", client, "--print", "--scope", scope)
    assert done.returncode == 0
    if (client, scope) == ("claude-code", "user"):
        words = shlex.split(done.stdout)
        assert words[:5] == ["claude", "mcp", "add", "--scope", "user"]
        assert words[words.index("--") + 1 :][-1] == "stdio"
    else:
        entry = json.loads(done.stdout)[keys[-1]]["llmspell"]
        assert [entry["command"], *entry["args"]][-3:] == [
            "--project",
            str(machine.project),
            "stdio",
        ]
        assert file in done.stderr
    assert machine.files() == before


@pytest.mark.parametrize("arguments", [("emacs",), ("cursor", "--scope", "x")])
@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_clients_and_scopes_there_are_none_of_are_refused_with_those_there_are(
    machine: Machine, command: str, arguments: tuple[str, ...]
) -> None:
    done = machine.run(command, *arguments)
    assert (done.stdout, done.returncode) == ("", 2)
    assert "hint:" in done.stderr


def test_the_printed_command_is_a_bridge(shared: OwnedProject, tmp_path: Path) -> None:
    entry = json.loads(shared.run("install", "cursor", "--print").stdout)["mcpServers"]["llmspell"]
    assert entry["command"].startswith(os.path.dirname(sys.executable))
    arguments = entry["args"][entry["args"].index("--project") :]
    done = llmspell(*arguments, cwd=tmp_path)
    assert (done.stdout, done.returncode) == ("", 0)
