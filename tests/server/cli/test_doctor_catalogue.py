"""What the doctor says of the list of tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmspell.cli.doctor.catalogue import MANY_TOKENS, examine
from llmspell.cli.doctor.finding import Finding
from llmspell.config import McpSettings
from llmspell.host.catalogue import Catalogue, Published
from llmspell.host.host import Host

ECHO = Published(name="echo", description="Say it back.")


def findings(*spells: Published, **settings: Any) -> list[Finding]:
    return examine(Catalogue(1, spells), McpSettings.model_validate(settings))


def warnings(*spells: Published, **settings: Any) -> list[Finding]:
    found = [each for each in findings(*spells, **settings) if each.verdict != "ok"]
    assert all(each.verdict == "warning" and each.advice for each in found)
    return found


def many(count: int) -> list[Published]:
    return [Published(name=f"s{number:03}", description="word " * 40) for number in range(count)]


async def test_what_comes_with_llmspell_is_cheap_and_lost_to_no_client(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "LLMSPELL_ALLOW_NETWORK": "0"}
    async with Host.open(tmp_path, state="memory", environ=environ) as host:
        [found] = examine(host.catalogue(), McpSettings())
        names = [spell.name for spell in host.catalogue().spells]
    assert found.verdict == "ok"
    assert int(found.detail.split("about ")[1].split()[0]) < MANY_TOKENS
    assert names
    assert all(len(name) <= 40 for name in names)


def test_few_tools_are_well() -> None:
    [found] = findings(ECHO)
    assert (found.name, found.verdict) == ("catalogue", "ok")
    assert found.detail.startswith("4 tools, ")


def test_many_tokens_are_worth_a_warning_and_clients_that_are_told_less_are_named() -> None:
    [found] = warnings(*many(45))
    assert "49 tools" in found.detail
    assert "cursor 4 tools" in found.detail
    assert "gemini" not in found.detail
    assert "mcp.bundles" in found.advice
    assert warnings(*many(45), catalogue="search") == []


def test_clients_that_take_fewer_tools_and_cannot_search_are_named() -> None:
    named = [each.name for each in warnings(*many(45), control_tools=[])]
    assert named == ["catalogue", "catalogue (cursor)"]


def test_names_a_client_would_drop_are_named() -> None:
    [found] = warnings(Published(name="n" * 45), ECHO, profiles={"mine": {"name_length": 40}})
    assert found.name == "catalogue (mine)"
    assert "n" * 45 in found.detail


def test_a_spell_in_the_place_of_a_tool_of_llmspell_is_named() -> None:
    [found] = warnings(Published(name="cast"))
    assert found.name == "spell cast"
    assert warnings(Published(name="cast"), control_tools=["run_result"]) == []


def test_a_field_that_fails_a_whole_request_is_named() -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"properties": {"gr\u00f6\u00dfe": {}}}}},
    }
    [found] = warnings(Published(name="a", input_schema=schema))
    assert "gr\u00f6\u00dfe" in found.detail


def test_a_description_that_is_cut_is_named() -> None:
    [found] = warnings(Published(name="a", description="x" * 2049))
    assert "2049" in found.detail
