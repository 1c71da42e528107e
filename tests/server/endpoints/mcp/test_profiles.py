"""Which profile a client has, and what settings make of it."""

from __future__ import annotations

from typing import Any

import pytest

from llmspell.config import McpSettings
from llmspell.endpoints.mcp.profiles import BUILT_IN, DEFAULT, Profiles


def profiles(**settings: Any) -> Profiles:
    return Profiles(McpSettings.model_validate({"profiles": settings}))


@pytest.mark.parametrize(
    ("client", "name"),
    [
        ("claude-ai", "claude-desktop"),
        ("claude-ai (via mcp-remote 0.1.37)", "claude-desktop"),
        ("claude-code", "claude-code"),
        ("Visual Studio Code", "vscode"),
        ("Visual Studio Code - Insiders", "vscode"),
        ("cursor-vscode", "cursor"),
        ("Cursor", "cursor"),
        ("gemini-cli-mcp-client", "gemini"),
        ("codex-mcp-client", "codex"),
        ("inspector", "default"),
        ("", "default"),
    ],
)
def test_a_client_is_known_by_how_its_name_begins(client: str, name: str) -> None:
    assert profiles().of(client).name == name


def test_an_unknown_client_is_told_everything() -> None:
    assert (DEFAULT.schemas, DEFAULT.tools, DEFAULT.wait) == ("full", 0, None)


def test_every_name_a_spell_may_have_is_listed_to_every_known_client() -> None:
    longest = 48
    assert all(profile.name_length >= longest for profile in BUILT_IN)


def test_settings_change_what_they_name_and_leave_the_rest() -> None:
    cursor = profiles(cursor={"tools": 80, "wait": "2m"}).of("cursor-vscode")
    assert (cursor.tools, cursor.wait, cursor.schemas) == (80, 120.0, "no_composition")


def test_settings_may_change_the_default() -> None:
    found = profiles(default={"schemas": "plain_root"})
    assert found.of("anybody").schemas == "plain_root"
    assert found.of("gemini-cli").schemas == "plain"


def test_a_profile_of_ones_own_is_for_the_clients_of_its_name_or_those_it_names() -> None:
    found = profiles(Windsurf={"tools": 100}, house={"clients": ["Our-", "claude-code/9"]})
    assert found.of("windsurf-client").tools == 100
    assert found.of("our-agent").name == "house"
    assert found.of("house").name == "default"
    # The longest beginning decides.
    assert found.of("claude-code/9.1").name == "house"
    assert found.of("claude-code/8").name == "claude-code"


def test_of_equal_beginnings_that_of_the_settings_decides() -> None:
    assert profiles(mine={"clients": ["cursor"]}).of("cursor-vscode").name == "mine"


def test_no_limit_can_be_said_too() -> None:
    assert profiles(cursor={"tools": 0}).of("cursor").tools == 0
