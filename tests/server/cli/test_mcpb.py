"""`llmspell mcpb`: a bundle that a desktop client installs, and what it then starts."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmspell import __version__
from tests.support.owners import BridgeClient, OwnedProject
from tests.support.servers import environment, make_project
from tests.support.warm import llmspell


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a project with a module and an icon."""
    root = make_project(tmp_path / "My Project", ("hello", "word_count"))
    (root / "lib").mkdir()
    (root / "lib" / "words.lua").write_text("return {}", encoding="utf-8")
    (root / "spells" / ".types").mkdir()
    (root / "spells" / ".types" / "llmspell.lua").touch()
    (root / ".llmspell").mkdir()
    (root / ".llmspell" / "token").write_text("secret", encoding="utf-8")
    (root / "icon.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return root


def bundle(root: Path, *arguments: str) -> bytes:
    """Have a bundle written and return it."""
    done = llmspell("mcpb", *arguments, cwd=root)
    assert done.returncode == 0, done.stderr
    path = root / done.stdout.strip()
    data = path.read_bytes()
    path.unlink()
    return data


def files_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def manifest_of(data: bytes) -> dict[str, Any]:
    return json.loads(files_of(data)["manifest.json"])


def test_a_bundle_holds_the_spells_and_what_installs_and_starts_llmspell(root: Path) -> None:
    files = files_of(bundle(root))
    assert list(files) == [
        "icon.png",
        "manifest.json",
        "project/lib/words.lua",
        "project/llmspell.toml",
        "project/spells/hello.lua",
        "project/spells/word_count.lua",
        "pyproject.toml",
        "server.py",
    ]
    pyproject = tomllib.loads(files["pyproject.toml"].decode())
    assert pyproject["project"]["dependencies"] == [f"llmspell=={__version__}"]
    assert pyproject["tool"]["uv"] == {"package": False}


def test_the_manifest_is_of_the_version_whose_hosts_bring_uv(root: Path) -> None:
    manifest = manifest_of(bundle(root))
    assert manifest["manifest_version"] == "0.4"
    assert manifest["name"] == "my-project"
    assert manifest["display_name"] == "My Project"
    assert manifest["version"] == __version__
    assert manifest["server"]["type"] == "uv"
    assert manifest["server"]["entry_point"] == "server.py"
    assert manifest["icon"] == "icon.png"
    assert manifest["tools_generated"] is True
    # As npm writes ranges: one of PEP 440, with a comma, is refused.
    assert manifest["compatibility"]["runtimes"]["python"] == ">=3.11"
    for name, option in manifest["user_config"].items():
        assert {"type", "title", "description"} <= option.keys()
        assert f"${{user_config.{name}}}" in manifest["server"]["mcp_config"]["args"]


def test_the_same_project_gives_the_same_bytes(root: Path) -> None:
    first = bundle(root)
    for path in root.rglob("*.lua"):
        os.utime(path, (1, 1))
        path.chmod(0o600)
    assert bundle(root) == first


def test_a_bundle_can_be_named(root: Path) -> None:
    manifest = manifest_of(
        bundle(root, "--name", "other", "--author", "Ada", "--release", "2.0.1", "x.mcpb")
    )
    assert (manifest["name"], manifest["version"]) == ("other", "2.0.1")
    assert manifest["author"] == {"name": "Ada"}


@pytest.mark.parametrize("arguments", [("--name", "Über alles"), ("--release", "1")])
def test_names_and_versions_that_clients_refuse_are_refused(
    root: Path, arguments: tuple[str, ...]
) -> None:
    done = llmspell("mcpb", *arguments, cwd=root)
    assert (done.stdout, done.returncode) == ("", 2)
    assert "hint:" in done.stderr


def test_a_file_that_exists_is_replaced_only_when_that_is_said(root: Path) -> None:
    (root / "x.mcpb").write_text("theirs", encoding="utf-8")
    assert llmspell("mcpb", "x.mcpb", cwd=root).returncode == 2
    assert (root / "x.mcpb").read_text(encoding="utf-8") == "theirs"
    assert llmspell("mcpb", "x.mcpb", "--force", cwd=root).returncode == 0
    assert zipfile.is_zipfile(root / "x.mcpb")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Return a home directory; the owners started for it end with the test."""
    home = tmp_path.resolve() / "home"
    home.mkdir()
    yield home
    for lock in home.rglob("owner.lock"):
        OwnedProject(lock.parent, lock.parent).end()


def start(directory: Path, home: Path, *arguments: str) -> BridgeClient:
    """Start an unpacked bundle as its manifest says, in the Python that runs this."""
    environ = {**environment(), "HOME": str(home), "XDG_DATA_HOME": str(home / "data")}
    return BridgeClient(
        subprocess.Popen(
            [sys.executable, str(directory / "server.py"), *arguments],
            cwd=directory,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    )


def unpack(data: bytes, directory: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(directory)
    return directory


def tools_of(client: BridgeClient) -> set[str]:
    client.initialize()
    listed = client.request("tools/list", {}, 1)
    return {tool["name"] for tool in listed["result"]["tools"]}


def test_an_unpacked_bundle_serves_its_spells_and_keeps_state_outside_itself(
    root: Path, tmp_path: Path, home: Path
) -> None:
    directory = unpack(bundle(root), tmp_path / "extension")
    # Options that are left empty arrive as the manifest has them.
    with start(directory, home, "${user_config.project}", "${user_config.state}") as client:
        assert {"hello", "word_count"} <= tools_of(client)
    assert (home / "data" / "llmspell" / "bundles" / "my-project" / "owner.lock").exists()
    assert not (directory / "project" / ".llmspell").exists()


def test_a_bundle_serves_the_project_its_user_chose(root: Path, tmp_path: Path, home: Path) -> None:
    directory = unpack(bundle(root), tmp_path / "extension")
    own = make_project(home / "own", ("notes",))
    with start(directory, home, str(own), str(home / "state")) as client:
        tools = tools_of(client)
    assert "notes" in tools
    assert "word_count" not in tools
    assert (home / "state" / "owner.lock").exists()


def test_without_a_project_the_spells_that_come_with_llmspell_are_served(
    tmp_path: Path, home: Path
) -> None:
    environ = {"XDG_DATA_HOME": str(home / "data"), "HOME": str(home)}
    (home / "data" / "llmspell").mkdir(parents=True)
    done = OwnedProject(home, home / "none", environ=environ).run("mcpb", str(tmp_path / "b.mcpb"))
    assert done.returncode == 0, done.stderr
    data = (tmp_path / "b.mcpb").read_bytes()
    pyproject = tomllib.loads(files_of(data)["pyproject.toml"].decode())
    assert pyproject["project"]["name"] != "llmspell"
    with start(unpack(data, tmp_path / "extension"), home) as client:
        assert "research_brief" in tools_of(client)
