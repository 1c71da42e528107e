"""`llmspell doctor` on clients' entries: each is started as its client would start it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.owners import OwnedProject, owned_project
from tests.support.servers import make_project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[OwnedProject]:
    """Make an owned project whose person has a home directory without any client."""
    home = tmp_path.resolve() / "home"
    home.mkdir()
    environ = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local" / "share"),
    }
    with owned_project(home / "project", environ=environ) as made:
        made.own()
        yield made


def diagnose(project: OwnedProject) -> tuple[int, dict[str, Any]]:
    """Run the doctor and return its exit status, and its findings by name."""
    done = project.run("doctor", "--json")
    assert done.stdout, done.stderr
    return done.returncode, {finding["name"]: finding for finding in json.loads(done.stdout)}


def install(project: OwnedProject, *arguments: str) -> None:
    done = project.run("install", *arguments)
    assert done.returncode == 0, done.stderr


def change_entry(path: Path, **changes: Any) -> None:
    """Change the entry in a client's file, as somebody or something might."""
    value = json.loads(path.read_text(encoding="utf-8"))
    value["mcpServers"]["llmspell"] |= changes
    path.write_text(json.dumps(value), encoding="utf-8")


def tried(found: dict[str, Any]) -> set[str]:
    return {name for name in found if name.startswith("MCP ")}


def test_every_entry_of_this_project_is_started_in_both_eras(project: OwnedProject) -> None:
    install(project, "cursor")
    install(project, "claude-desktop", "--name", "spells")
    status, found = diagnose(project)
    assert tried(found) == {
        f"MCP {era} ({title})"
        for era in ("up to 2025-11-25", "2026-07-28")
        for title in ("Cursor, project", "Claude Desktop, user, spells")
    }
    assert {found[name]["verdict"] for name in tried(found)} == {"ok"}
    assert status == 0


def test_what_an_entry_sets_is_what_its_server_gets(project: OwnedProject, tmp_path: Path) -> None:
    install(project, "cursor")
    script = tmp_path / "llmspell"
    script.write_text(
        '#!/bin/sh\necho "$PWD $ADDED ${PATH:+has a path}" >&2\nexit 7\n', encoding="utf-8"
    )
    script.chmod(0o755)
    changes = {"command": str(script), "env": {"ADDED": "by the entry"}}
    change_entry(project.root / ".cursor" / "mcp.json", **changes)
    status, found = diagnose(project)
    assert status == 1
    finding = found["MCP 2026-07-28 (Cursor, project)"]
    assert f"{project.root} by the entry has a path" in finding["detail"]
    assert finding["advice"] == "llmspell install cursor --scope project"


def test_gemini_keeps_secrets_of_the_environment_to_itself(
    project: OwnedProject, tmp_path: Path
) -> None:
    install(project, "gemini", "--scope", "project")
    script = tmp_path / "llmspell"
    script.write_text('#!/bin/sh\necho "[$MY_API_KEY$SOMETHING]" >&2\n', encoding="utf-8")
    script.chmod(0o755)
    change_entry(project.root / ".gemini" / "settings.json", command=str(script))
    project.environ = {**project.environ, "MY_API_KEY": "hidden", "SOMETHING": "passed"}
    _, found = diagnose(project)
    assert "[passed]" in found["MCP 2026-07-28 (Gemini CLI, project)"]["detail"]


def test_a_command_that_is_gone_is_named_with_what_writes_the_entry_anew(
    project: OwnedProject,
) -> None:
    install(project, "claude-desktop")
    path = Path(project.environ["XDG_CONFIG_HOME"]) / "Claude" / "claude_desktop_config.json"
    change_entry(path, command="/gone/bin/llmspell")
    status, found = diagnose(project)
    assert status == 1
    finding = found["MCP (Claude Desktop, user)"]
    assert finding["detail"] == "/gone/bin/llmspell does not exist"
    assert finding["advice"] == "llmspell install claude-desktop --scope user"
    install(project, "claude-desktop")
    assert diagnose(project)[0] == 0


def test_a_command_that_only_a_shell_would_find_is_told_for_the_client_without_one(
    project: OwnedProject,
) -> None:
    install(project, "claude-desktop")
    path = Path(project.environ["XDG_CONFIG_HOME"]) / "Claude" / "claude_desktop_config.json"
    change_entry(path, command="llmspell")
    _, found = diagnose(project)
    assert "not on the PATH" in found["MCP (Claude Desktop, user)"]["detail"]


def test_an_interpreter_that_was_moved_is_named(project: OwnedProject, tmp_path: Path) -> None:
    install(project, "cursor")
    script = tmp_path / "llmspell"
    script.write_text("#!/gone/venv/bin/python\n", encoding="utf-8")
    change_entry(project.root / ".cursor" / "mcp.json", command=str(script))
    assert "not executable" in diagnose(project)[1]["MCP (Cursor, project)"]["detail"]
    script.chmod(0o755)
    detail = diagnose(project)[1]["MCP (Cursor, project)"]["detail"]
    assert "/gone/venv/bin/python, which does not exist" in detail


def test_an_entry_of_another_project_is_told_and_not_started(project: OwnedProject) -> None:
    other = make_project(project.root.parent / "other", ("hello",)).resolve()
    install(project, "cursor", "--scope", "user", "--project", str(other))
    status, found = diagnose(project)
    assert status == 0
    assert found["Cursor, user"]["verdict"] == "warning"
    assert str(other) in found["Cursor, user"]["detail"]
    assert not (other / ".llmspell").exists()
    # No client has this project, so what an entry would start is tried.
    assert len(tried(found)) == 4


def test_an_entry_of_a_project_that_is_gone_is_a_problem(project: OwnedProject) -> None:
    other = make_project(project.root.parent / "other", ())
    install(project, "cursor", "--scope", "user", "--project", str(other))
    other.joinpath("llmspell.toml").unlink()
    other.joinpath("spells").rmdir()
    other.rmdir()
    status, found = diagnose(project)
    assert status == 1
    assert found["Cursor, user"]["advice"].startswith("llmspell uninstall cursor --scope user")


def test_a_clients_file_that_is_not_json_is_a_problem_with_its_line(project: OwnedProject) -> None:
    path = project.root / ".vscode" / "mcp.json"
    path.parent.mkdir()
    path.write_text('{\n"servers": oops}', encoding="utf-8")
    status, found = diagnose(project)
    assert status == 1
    assert f"{path}:2" in found["VS Code, project"]["detail"]


def test_an_entry_that_ends_calls_too_early_is_a_warning(project: OwnedProject) -> None:
    install(project, "claude-code")
    change_entry(project.root / ".mcp.json", timeout=5000)
    status, found = diagnose(project)
    assert status == 0
    assert "after 5 s" in found["Claude Code, project: timeout"]["detail"]


def test_an_entry_with_variables_of_its_client_is_not_started(project: OwnedProject) -> None:
    install(project, "vscode")
    path = project.root / ".vscode" / "mcp.json"
    text = path.read_text(encoding="utf-8").replace(str(project.root), "${workspaceFolder}")
    path.write_text(text, encoding="utf-8")
    _, found = diagnose(project)
    assert "variables" in found["VS Code, project"]["detail"]
    assert "VS Code, project" not in " ".join(tried(found))
