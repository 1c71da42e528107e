"""What a bridge answers while there is no owner yet."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

import pytest

from llmspell.bridge.catalogue import KeptCatalogue, file_name, write_catalogue
from tests.support.mcp import ENVELOPE, LEGACY, MODERN
from tests.support.owners import INITIALIZE, OwnedProject, wait_until

ANSWERS: dict[str, dict[str, Any]] = {
    "2025-06-18": {"initialize": {"v": 1}, "tools/list": {"tools": [1]}},
    LEGACY: {"initialize": {"v": 2}, "tools/list": {"tools": [2]}},
    MODERN: {"server/discover": {"d": 1}, "tools/list": {"tools": [3]}},
}


def request(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


@pytest.fixture
def kept(tmp_path: Path) -> KeptCatalogue:
    write_catalogue(tmp_path, ANSWERS)
    return KeptCatalogue(tmp_path)


def test_the_handshake_decides_which_list_is_given(kept: KeptCatalogue) -> None:
    assert kept.answer(request("tools/list")) is None
    assert kept.answer(request("initialize", protocolVersion="2025-06-18")) == {"v": 1}
    assert kept.answer(request("tools/list")) == {"tools": [1]}
    assert kept.given_tools == {"tools": [1]}
    assert kept.answer(request("ping")) == {}


def test_an_unknown_revision_gets_the_latest_with_a_handshake(kept: KeptCatalogue) -> None:
    assert kept.answer(request("initialize", protocolVersion="2099-01-01")) == {"v": 2}
    assert kept.answer(request("tools/list")) == {"tools": [2]}


def test_the_modern_era_needs_no_handshake(kept: KeptCatalogue) -> None:
    assert kept.answer(request("server/discover", _meta=ENVELOPE)) == {"d": 1}
    assert kept.answer(request("tools/list", _meta=ENVELOPE)) == {"tools": [3]}
    assert kept.given_tools is None


def test_whatever_else_is_asked_waits_for_the_owner(kept: KeptCatalogue) -> None:
    kept.answer(request("initialize", protocolVersion=LEGACY))
    for asked in (
        request("tools/call", name="x"),
        request("tools/list", cursor="2"),
        request("tools/list", _meta={**ENVELOPE, "io.modelcontextprotocol/protocolVersion": "x"}),
        {"jsonrpc": "2.0", "id": 1},
    ):
        assert kept.answer(asked) is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"build":"0","answers":{}}', '{"build":"0.0.0"', "\0"]
)
def test_a_file_that_cannot_be_used_answers_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / file_name()).write_text(text, encoding="utf-8")
    kept = KeptCatalogue(tmp_path)
    assert kept.answer(request("initialize", protocolVersion=LEGACY)) is None
    assert kept.answer(request("ping")) is None


def test_a_client_is_answered_before_its_owner_is_ready_and_told_what_has_changed(
    project: OwnedProject,
) -> None:
    project.own()
    with project.bridge() as client:
        client.initialize()
        before = client.request("tools/list", {}, 1)["result"]
        wait_until((project.state / file_name()).exists, "the answers are kept")
    assert project.run("stop").returncode == 0
    (project.root / "spells" / "nap.lua").unlink()
    # Whoever starts owners holds this lock meanwhile.
    with (project.state / "spawn.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with project.bridge() as client:
            assert "result" in client.request("initialize", INITIALIZE, "init")
            client.send("notifications/initialized")
            assert client.request("tools/list", {}, 1)["result"] == before
            client.send("tools/call", {"name": "hello", "arguments": {}}, 2)
            assert project.owner is None
            fcntl.flock(lock, fcntl.LOCK_UN)
            received = [client.read(), client.read()]
            changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
            assert changed in received
            (answer,) = [message for message in received if message != changed]
            assert answer["result"]["content"][0]["text"] == "Hello, world!"
            names = [
                tool["name"] for tool in client.request("tools/list", {}, 3)["result"]["tools"]
            ]
            assert names == ["cast", "hello", "run_cancel", "run_result"]
