"""The settings of `[mcp]`: what is allowed, and what is said of what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmspell.config import McpSettings, load_settings
from llmspell.errors import ConfigError


def load(directory: Path, text: str) -> McpSettings:
    (directory / "llmspell.toml").write_text(text, encoding="utf-8")
    return load_settings(directory, environ={"HOME": str(directory)}).mcp


def test_the_defaults_list_every_spell_and_fit_every_known_client(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    assert settings.catalogue == "direct"
    assert settings.control_tools == ["cast", "run_result", "run_cancel", "spell_search"]
    assert settings.result_bytes < 50_000  # what Claude Code keeps in the conversation
    assert (settings.search_above, settings.page) == (30, 1000)


def test_a_profile_and_a_bundle_are_read(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        """
        [mcp]
        result_bytes = "1MB"
        [mcp.profiles.windsurf]
        tools = 100
        wait = "50s"
        schemas = "plain_root"
        [mcp.bundles]
        reports = ["report", "export_*"]
        """,
    )
    assert settings.profiles["windsurf"].tools == 100
    assert settings.profiles["windsurf"].wait == 50.0
    assert settings.bundles == {"reports": ["report", "export_*"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[mcp.profiles.cursor]\ntool = 1\n", "did you mean 'tools'?"),
        ("[mcp]\ncatalog = 'search'\n", "did you mean 'catalogue'?"),
        ("[mcp]\ncontrol_tools = ['casts']\n", "mcp.control_tools"),
        ("[mcp]\ncatalogue = 'search'\ncontrol_tools = ['cast']\n", "spell_search"),
        ("[mcp.bundles]\n'../up' = []\n", "letters, digits"),
        ("[mcp]\nresult_bytes = 10\n", "mcp.result_bytes"),
    ],
)
def test_what_is_not_allowed_is_refused_with_what_is(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, text)
    assert said in f"{refused.value.message} {refused.value.hint}"
