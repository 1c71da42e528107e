"""Replacing a client's file: whole or not at all, and never over somebody else's edit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmspell.cli.clients import files
from llmspell.errors import ClientFileError


def test_a_file_somebody_changed_meanwhile_is_left_as_they_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    path.write_text("theirs", encoding="utf-8")
    with pytest.raises(ClientFileError, match="changed by somebody else"):
        files.write(path, "ours", before="as it was read")
    assert path.read_text(encoding="utf-8") == "theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_appeared_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    path.write_text("theirs", encoding="utf-8")
    with pytest.raises(ClientFileError):
        files.write(path, "ours", before=None)
    assert path.read_text(encoding="utf-8") == "theirs"


def test_what_an_interrupted_write_left_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    (tmp_path / f".mcp.json.{os.getpid()}.tmp").write_text("half", encoding="utf-8")
    files.write(path, "whole", before=None)
    assert path.read_text(encoding="utf-8") == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_is_private_unless_a_project_carries_it(tmp_path: Path) -> None:
    files.write(tmp_path / "own", "", before=None)
    files.write(tmp_path / "shared", "", before=None, mode=files.SHARED)
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "own").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o666 & ~umask


def test_directories_are_removed_again_only_when_nothing_else_lies_in_them(tmp_path: Path) -> None:
    made = files.make_directories(tmp_path / "a" / "b")
    assert made == [tmp_path / "a", tmp_path / "a" / "b"]
    (tmp_path / "a" / "theirs").touch()
    (tmp_path / "a" / "b" / "ours").touch()
    files.delete(tmp_path / "a" / "b" / "ours", made)
    assert list((tmp_path / "a").iterdir()) == [tmp_path / "a" / "theirs"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ClientFileError, match="file"):
        files.make_directories(tmp_path / "file" / "sub")
    with pytest.raises(ClientFileError, match="mcp"):
        files.write(tmp_path / "missing" / "mcp.json", "", before=None)
