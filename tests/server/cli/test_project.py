"""Commands about a project: `init`, `check`, `spells`, `info`, `stop`."""

from __future__ import annotations

import json
import os
import shlex
import signal
from pathlib import Path

from llmspell import __version__
from tests.support import warm
from tests.support.owners import OwnedProject
from tests.support.servers import LLMSPELL, llmspell

BROKEN = 'return Spell.create {\n  nmae = "x",\n  run = function() end,\n}\n'


def test_a_new_project_runs_with_the_commands_it_prints(tmp_path: Path) -> None:
    made = llmspell("init", "my project", cwd=tmp_path)
    root = tmp_path / "my project"
    assert made.returncode == 0
    project = OwnedProject(root.resolve(), root.resolve() / ".llmspell")
    try:
        first, second = (shlex.split(line) for line in made.stdout.splitlines()[1:])
        assert llmspell(*first[1:], cwd=tmp_path).stdout == "Hello, you!\n"
        assert "mcpServers" in llmspell(*second[1:], "--print", cwd=tmp_path).stdout
        assert f"process {project.owner}" in llmspell("info", cwd=root).stdout
        assert llmspell("stop", cwd=root).returncode == 0
        assert project.owner is None
    finally:
        project.end()
    assert llmspell("check", cwd=root).returncode == 0
    assert (root / ".gitignore").read_text(encoding="utf-8") == ".llmspell/\n"
    assert json.loads((root / ".luarc.json").read_text(encoding="utf-8"))
    assert "Spell.create" in (root / "spells/.types/llmspell.lua").read_text(encoding="utf-8")


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("build/", encoding="utf-8")
    assert warm.llmspell("init", cwd=tmp_path).returncode == 0
    assert (tmp_path / ".gitignore").read_text(encoding="utf-8") == "build/\n.llmspell/\n"
    (tmp_path / "llmspell.toml").write_text("mine", encoding="utf-8")
    again = warm.llmspell("init", cwd=tmp_path)
    assert again.returncode == 2
    assert "llmspell.toml" in again.stderr
    assert (tmp_path / "llmspell.toml").read_text(encoding="utf-8") == "mine"


def test_init_knows_the_languages_there_are(tmp_path: Path) -> None:
    done = warm.llmspell("init", "--language", "cobol", cwd=tmp_path)
    assert done.returncode == 2
    assert "lua" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_check_names_file_and_line_of_what_is_wrong_and_needs_no_owner(
    project: OwnedProject,
) -> None:
    (project.root / "spells" / "broken.lua").write_text(BROKEN, encoding="utf-8")
    done = project.run("check")
    assert done.returncode == 1
    assert "spells/broken.lua:2: unknown key 'nmae'" in done.stderr
    assert "did you mean 'name'" in done.stderr
    assert project.owner is None
    assert project.run("check", "spells/hello.lua").returncode == 0
    assert project.run("check", "spells").returncode == 1
    assert project.run("check", "missing.lua").returncode == 2


def test_check_works_while_an_owner_lives(shared: OwnedProject) -> None:
    assert shared.run("run", "hello").returncode == 0
    done = shared.run("check")
    assert (done.stdout, done.returncode) == ("", 0)
    assert "nothing wrong" in done.stderr


def test_spells_lists_what_is_published_and_shows_one(shared: OwnedProject) -> None:
    listed = shared.run("spells").stdout
    assert "hello       Say hello to somebody.\n" in listed
    catalogue = json.loads(shared.run("spells", "--json").stdout)
    assert [spell["name"] for spell in catalogue["spells"]] == ["hello", "nap", "word_count"]
    assert '"text"' in shared.run("spells", "show", "word_count").stdout
    shown = json.loads(shared.run("spells", "show", "hello", "--json").stdout)
    assert shown["input_schema"]["properties"]["name"]["type"] == "string"
    missing = shared.run("spells", "show", "nosuch")
    assert missing.returncode == 1
    assert "spell.not_found" in missing.stderr


def test_info_starts_nothing_and_says_who_owns(project: OwnedProject) -> None:
    before = json.loads(project.run("info", "--json").stdout)
    assert before["owner"] is None
    assert before["project"] == str(project.root)
    assert before["state"] == str(project.state)
    assert before["version"] == __version__
    assert before["engines"] == ["lua"]
    assert project.owner is None
    project.run("run", "hello")
    after = json.loads(project.run("info", "--json").stdout)
    assert after["owner"] == project.owner
    assert after["http"] is None
    assert f"process {project.owner}" in project.run("info").stdout


def test_stop_ends_the_owner_and_says_when_there_is_none(project: OwnedProject) -> None:
    project.own()
    pid = project.owner
    done = project.run("stop")
    assert done.returncode == 0
    assert f"stopped owner {pid}" in done.stderr
    assert project.owner is None
    assert not (project.state / "s.sock").exists()
    again = project.run("stop")
    assert again.returncode == 0
    assert "no owner" in again.stderr


def test_stop_ends_an_owner_that_no_longer_answers(project: OwnedProject) -> None:
    project.own()
    (project.state / "s.sock").unlink()
    assert project.run("stop").returncode == 0
    assert project.owner is None


def test_stop_gives_up_on_an_owner_that_does_not_end(project: OwnedProject) -> None:
    project.own()
    pid = project.owner
    assert pid
    os.kill(pid, signal.SIGSTOP)
    try:
        (project.state / "s.sock").unlink()
        done = project.run("stop", "--timeout", "0.3")
        assert done.returncode == 1
        assert "has not ended" in done.stderr
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_wrong_setting_is_told_with_its_file_by_every_command(project: OwnedProject) -> None:
    (project.root / "llmspell.toml").write_text("[limits]\ncast_secnds = 1\n", encoding="utf-8")
    for arguments in (("run", "hello"), ("spells",), ("check",), ("info",)):
        done = project.run(*arguments)
        assert (done.stdout, done.returncode) == ("", 1)
        assert "cast_secnds" in done.stderr
        assert "cast_seconds" in done.stderr
        assert "config.invalid" in done.stderr


def test_a_project_that_does_not_exist_is_told_and_not_made(tmp_path: Path) -> None:
    done = warm.llmspell("run", "hello", "--project", "nowhere", cwd=tmp_path)
    assert done.returncode == 1
    assert "does not exist" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_users_own_project_has_the_bundled_spells(tmp_path: Path) -> None:
    environ = {"XDG_DATA_HOME": str(tmp_path / "data"), "HOME": str(tmp_path)}
    root = (tmp_path / "data" / "llmspell").resolve()
    project = OwnedProject(root, root / ".llmspell", environ=environ)
    try:
        assert project.run("run", "hello", cwd=tmp_path).stdout == "Hello, world!\n"
    finally:
        project.end()


def test_the_module_is_the_command(tmp_path: Path) -> None:
    assert LLMSPELL[1:] == ("-m", "llmspell")
    assert llmspell("--version", cwd=tmp_path).stdout == f"llmspell {__version__}\n"


def test_a_name_whose_file_does_not_load_leads_to_the_file(project: OwnedProject) -> None:
    (project.root / "spells" / "hullo.lua").write_text(BROKEN, encoding="utf-8")
    for command in (("run", "hullo"), ("spells", "show", "hullo")):
        done = project.run(*command)
        assert done.returncode == 1
        assert "no spell named 'hullo' {code: spell.not_found}" in done.stderr
        assert "spells/hullo.lua:2 does not load: 'llmspell check' says why" in done.stderr
