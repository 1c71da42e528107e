"""`llmspell doctor`: what it finds, what it advises, and what it keeps to itself."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from tests.support.owners import OwnedProject, owned_project

SECRET = "sk-very-secret-value-0123456789"


def diagnose(project: OwnedProject, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run the doctor and return its exit status, and its findings by name."""
    done = project.run("doctor", "--json", *arguments)
    assert done.stdout, done.stderr
    return done.returncode, {finding["name"]: finding for finding in json.loads(done.stdout)}


def test_a_sound_project_passes_as_every_client_would_start_it(project: OwnedProject) -> None:
    anew = project.start_anew("doctor", "--json")
    printed, errors = anew.communicate(timeout=60)
    assert printed, errors
    status, found = anew.returncode, {each["name"]: each for each in json.loads(printed)}
    problems = [each for each in found.values() if each["verdict"] == "problem"]
    assert problems == []
    assert status == 0
    tried = [each for name, each in found.items() if name.startswith("MCP ")]
    assert len(tried) == 4
    assert all(int(each["detail"].split()[0]) >= 2 for each in tried)
    assert all("tools after" in each["detail"] for each in tried)
    assert f"process {project.owner}," in found["owner"]["detail"]
    assert found["spells"]["detail"] == "2 published"
    assert "sound" in found["database"]["detail"]
    for each in found.values():
        assert each["verdict"] == "ok" or each["advice"]


def test_what_is_found_is_shown_to_people_with_what_to_do(project: OwnedProject) -> None:
    (project.root / "spells" / "broken.lua").write_text("return Spell.create {", encoding="utf-8")
    project.own()
    done = project.run("doctor")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    (at,) = [n for n, line in enumerate(lines) if line.startswith("problem  spell")]
    assert "broken.lua" in lines[at]
    assert lines[at + 1].strip().startswith("->")


def test_settings_that_are_wrong_are_the_problem(project: OwnedProject) -> None:
    (project.root / "llmspell.toml").write_text("[modles]\n", encoding="utf-8")
    status, found = diagnose(project)
    assert status == 1
    assert "modles" in found["settings"]["detail"]
    assert "models" in found["settings"]["advice"]
    assert project.owner is None


def test_a_state_directory_others_may_enter_is_named(project: OwnedProject) -> None:
    project.state.mkdir()
    project.state.chmod(0o755)
    _, found = diagnose(project)
    assert found["state directory"]["verdict"] == "warning"
    assert found["state directory"]["advice"] == f"chmod 700 {project.state}"


def test_a_state_directory_that_cannot_be_used_is_a_problem_with_advice(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with owned_project(tmp_path / "p", state=tmp_path / "file" / "state") as project:
        status, found = diagnose(project)
    assert status == 1
    assert "--state" in found["state directory"]["advice"]


def test_a_token_others_can_read_is_a_problem(project: OwnedProject) -> None:
    project.state.mkdir(mode=0o700)
    (project.state / "token").write_text("t" * 40, encoding="utf-8")
    (project.state / "token").chmod(0o644)
    status, found = diagnose(project)
    assert status == 1
    assert found["token"]["verdict"] == "problem"


def test_an_owner_that_hangs_is_ended_by_the_bridges_the_doctor_starts(
    project: OwnedProject,
) -> None:
    project.own()
    hung = project.owner
    assert hung
    os.kill(hung, signal.SIGSTOP)
    status, found = diagnose(project)
    assert status == 0
    assert f"process {hung}," not in found["owner"]["detail"]


def test_the_report_holds_what_helps_and_no_secret(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    environ = {"EXAMPLE_API_KEY": SECRET}
    with owned_project(tmp_path / "p", environ=environ) as project:
        (project.root / "llmspell.toml").write_text(
            '[providers.example]\napi_key = "${env:EXAMPLE_API_KEY}"\n', encoding="utf-8"
        )
        source = f'log.info("the key is {SECRET}")\nreturn Spell.create {{'
        (project.root / "spells" / "leaky.lua").write_text(source, encoding="utf-8")
        status, found = diagnose(project, "--report", str(report))
    assert status == 1
    assert found["key of example"]["detail"] == "from ${env:EXAMPLE_API_KEY}"
    assert "EXAMPLE_API_KEY" in found["model keys"]["detail"]
    text = report.read_text(encoding="utf-8")
    assert SECRET not in text
    assert SECRET not in json.dumps(found)
    content = json.loads(text)
    assert {"llmspell", "at", "findings", "settings", "environment", "log"} <= content.keys()
    assert "EXAMPLE_API_KEY" in content["environment"]
    assert report.stat().st_mode & 0o777 == 0o600
