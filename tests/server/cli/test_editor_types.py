"""What `init` writes for editors is what the code knows of the spell API."""

from __future__ import annotations

import json
from pathlib import Path

from llmspell.authoring.editor_types import project_files
from tests.support.servers import llmspell


def test_a_new_project_has_the_types_and_the_settings_of_an_editor(tmp_path: Path) -> None:
    assert llmspell("init", cwd=tmp_path).returncode == 0
    files = project_files()
    assert sorted(files) == [
        ".luarc.json",
        "spells/.types/llmspell.lua",
        "spells/.types/llmspell_test.lua",
    ]
    for name, text in files.items():
        assert (tmp_path / name).read_text(encoding="utf-8") == text


def test_an_editor_is_told_where_the_types_are_and_to_know_no_other_library() -> None:
    settings = json.loads(project_files()[".luarc.json"])
    assert settings["workspace.library"] == ["spells/.types"]
    assert settings["runtime.version"] == "Lua 5.4"
    assert set(settings["runtime.builtin"].values()) == {"disable"}
