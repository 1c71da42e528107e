"""`llmspell state` as a person types it."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.owners import WAIT_SECONDS, OwnedProject

COUNT = 'return Spell.create { name = "count", run = function() return State.increment("n") end }'


def value(project: OwnedProject, *arguments: str) -> Any:
    """Return the value `state get` prints."""
    done = project.run("state", "get", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["value"]


def test_a_key_is_written_read_and_deleted(shared: OwnedProject) -> None:
    version = shared.run("state", "set", "greeting", "Hello there").stdout.strip()
    assert shared.run("state", "get", "greeting").stdout == "Hello there\n"
    item = json.loads(shared.run("state", "get", "greeting", "--json").stdout)
    assert item == {"key": "greeting", "value": "Hello there", "version": version}
    shared.run("state", "set", "list", "[1, 2]")
    assert value(shared, "list") == [1, 2]
    assert shared.run("state", "delete", "greeting").stderr == "deleted\n"
    gone = shared.run("state", "get", "greeting")
    assert (gone.stdout, gone.returncode) == ("", 1)
    assert "no key 'greeting' in State.shared" in gone.stderr
    assert json.loads(shared.run("state", "delete", "greeting", "--json").stdout) == {
        "key": "greeting",
        "deleted": False,
    }


def test_a_value_can_come_from_stdin(shared: OwnedProject) -> None:
    assert shared.run("state", "set", "piped", "-", input="a line\n").returncode == 0
    assert value(shared, "piped") == "a line"


def test_a_write_can_depend_on_the_version(shared: OwnedProject) -> None:
    first = shared.run("state", "set", "guarded", "1", "--if-version", "").stdout.strip()
    refused = shared.run("state", "set", "guarded", "2", "--if-version", "")
    assert refused.returncode == 1
    assert "state.conflict" in refused.stderr
    assert shared.run("state", "set", "guarded", "2", "--if-version", first).returncode == 0
    assert shared.run("state", "delete", "guarded", "--if-version", first).returncode == 1


def test_a_scope_is_that_of_the_spells_own_state(project: OwnedProject) -> None:
    (project.root / "spells" / "count.lua").write_text(COUNT, encoding="utf-8")
    assert project.run("run", "count").stdout == "1\n"
    assert value(project, "n", "--spell", "count") == 1
    project.run("state", "set", "n", "41", "--spell", "count")
    assert project.run("run", "count").stdout == "42\n"
    for scope in (("--spell", "other"), ("--session", "s"), ("--user",), ()):
        assert project.run("state", "get", "n", *scope).returncode == 1
    assert project.run("state", "get", "n", "--spell", "count", "--user").returncode == 2


def test_a_value_with_a_time_to_live_goes(shared: OwnedProject) -> None:
    assert shared.run("state", "set", "brief", "1", "--ttl", "1ms").returncode == 0
    assert shared.run("state", "get", "brief").returncode == 1
    assert shared.run("state", "set", "long", "1", "--ttl", "30d").returncode == 0
    assert value(shared, "long") == 1
    assert shared.run("state", "set", "brief", "1", "--ttl", "soon").returncode == 2


def test_keys_are_listed_under_a_prefix_page_by_page(project: OwnedProject) -> None:
    project.own()
    for name in ("a/1", "a/2", "a/3", "b"):
        project.run("state", "set", name, f'"{name}!"', "--user")
    done = project.run("state", "scan", "a/", "--user", "--limit", "2")
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["KEY", "VALUE", "VERSION"]
    assert [row.split()[:2] for row in rows] == [["a/1", '"a/1!"'], ["a/2", '"a/2!"']]
    assert "--after 'a/2'" in done.stderr
    rest = json.loads(
        project.run("state", "scan", "a/", "--user", "--after", "a/2", "--json").stdout
    )
    assert [item["key"] for item in rest["items"]] == ["a/3"]
    assert rest["next"] is None
    everything = json.loads(
        project.run("state", "scan", "--user", "--all", "--reverse", "--json").stdout
    )
    assert [item["key"] for item in everything["items"]] == ["b", "a/3", "a/2", "a/1"]


def test_changes_are_watched_until_ctrl_c(project: OwnedProject) -> None:
    project.own()
    since = project.run("state", "set", "seen/before", "0").stdout.strip()
    watching = project.start("state", "watch", "seen/", "--since", since, "--json")
    project.run("state", "set", "seen/a", "1")
    project.run("state", "set", "unseen", "1")
    assert json.loads(watching.stdout.readline())["value"] == 1
    project.run("state", "delete", "seen/a")
    gone = json.loads(watching.stdout.readline())
    assert (gone["key"], gone["deleted"]) == ("seen/a", True)
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=WAIT_SECONDS)
    assert watching.returncode == 130


def test_a_sound_database_is_verified_with_and_without_an_owner(project: OwnedProject) -> None:
    project.own()
    project.run("state", "set", "key", "1")
    assert project.owner is not None
    through = json.loads(project.run("state", "verify", "--json").stdout)
    assert through["problems"] == []
    assert through["rows"]["kv"] == 1
    project.run("stop")
    done = project.run("state", "verify")
    assert done.returncode == 0
    assert project.owner is None
    assert ["kv", "1"] in [line.split() for line in done.stdout.splitlines()]
    assert "0 problems" in done.stderr


def test_a_backup_is_restored_and_what_was_there_is_moved_aside(
    project: OwnedProject, tmp_path: Path
) -> None:
    project.own()
    project.run("state", "set", "key", "old")
    made = project.run("state", "backup").stdout.strip()
    copy = project.run("state", "backup", "copy").stdout.strip()
    assert copy == str(project.root / "copy")
    assert Path(made).parent == project.state / "checkpoints"
    [listed] = json.loads(project.run("state", "backup", "--list", "--json").stdout)
    assert listed["path"] == made
    assert listed["name"] in project.run("state", "backup", "--list").stdout
    project.run("state", "set", "key", "new")
    owned = project.run("state", "restore", listed["name"], "--yes")
    assert owned.returncode == 1
    assert "state.owned" in owned.stderr
    assert "llmspell stop" in owned.stderr
    project.run("stop")
    unsure = project.run("state", "restore", listed["name"])
    assert unsure.returncode == 2
    assert "--yes" in unsure.stderr
    restored = json.loads(project.run("state", "restore", listed["name"], "--yes", "--json").stdout)
    assert Path(restored["aside"]).is_dir()
    project.own()
    assert value(project, "key") == "old"
    project.run("state", "set", "key", "newer")
    project.run("stop")
    said = project.run("state", "restore", copy, "--yes")
    assert said.returncode == 0
    assert "is now a copy of" in said.stderr
    project.own()
    assert value(project, "key") == "old"


def test_a_backup_overwrites_nothing(shared: OwnedProject) -> None:
    done = shared.run("state", "backup", str(shared.root / "spells"))
    assert done.returncode == 1
    assert "exists already" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("get",), ("set", "key"), ("backup", "x", "--list"), ("scan", "--limit", "0")],
)
def test_what_makes_no_sense_is_a_usage_error(
    shared: OwnedProject, arguments: tuple[str, ...]
) -> None:
    done = shared.run("state", *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
