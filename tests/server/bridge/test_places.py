"""Which project and which state directory a command means."""

from __future__ import annotations

from pathlib import Path

from llmspell.bridge import find_project, state_directory, user_config_file, user_data_directory


def make(directory: Path) -> Path:
    directory.mkdir(parents=True)
    (directory / "llmspell.toml").touch()
    return directory.resolve()


def test_the_named_project_goes_before_the_environment_and_that_before_the_directory(
    tmp_path: Path,
) -> None:
    here = make(tmp_path / "here")
    environ = {"LLMSPELL_PROJECT": str(tmp_path / "elsewhere"), "HOME": str(tmp_path)}
    assert find_project("named", here, environ) == here / "named"
    assert find_project(None, here, environ) == (tmp_path / "elsewhere").resolve()
    assert find_project(None, here, {"HOME": str(tmp_path)}) == here


def test_the_nearest_settings_file_upwards_marks_the_project(tmp_path: Path) -> None:
    make(tmp_path / "outer")
    inner = make(tmp_path / "outer" / "inner")
    below = inner / "spells" / "deep"
    below.mkdir(parents=True)
    assert find_project(None, below, {"HOME": str(tmp_path)}) == inner


def test_without_a_project_the_users_data_directory_is_it(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    assert user_data_directory(environ) == tmp_path / "data" / "llmspell"
    assert find_project(None, tmp_path, environ) == (tmp_path / "data" / "llmspell").resolve()
    assert user_data_directory({"HOME": "/h"}) == Path("/h/.local/share/llmspell")
    assert user_config_file({"HOME": "/h"}) == Path("/h/.config/llmspell/config.toml")


def test_a_link_to_a_project_is_the_project(tmp_path: Path) -> None:
    real = make(tmp_path / "real")
    (tmp_path / "link").symlink_to(real)
    assert find_project(str(tmp_path / "link"), tmp_path, {}) == real


def test_the_state_directory_lies_in_the_project_unless_it_is_named(tmp_path: Path) -> None:
    project = make(tmp_path / "p")
    assert state_directory(project, None, {}) == project / ".llmspell"
    assert state_directory(project, None, {"LLMSPELL_STATE": "s"}) == project / "s"
    named = str(tmp_path / "t")
    assert state_directory(project, named, {"LLMSPELL_STATE": "s"}) == Path(named).resolve()
