"""The official TypeScript clients of MCP, both versions, against a real server over both wires."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import pytest

from tests.support.node import run_client
from tests.support.servers import (
    LLMSPELL,
    environment,
    llmspell,
    make_project,
    running_server,
)

SPELLS = ("hello", "word_count", "notes")


class Client(NamedTuple):
    program: str
    era: str
    protocol: str | None
    """The protocol version it must come to; None where the client does not tell."""


CLIENTS = {
    "v1": Client("mcp_v1.mjs", "legacy", None),
    "v2-2025-11-25": Client("mcp_v2.mjs", "legacy", "2025-11-25"),
    "v2-2026-07-28": Client("mcp_v2.mjs", "auto", "2026-07-28"),
}

Session = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def over_http(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, Any]]:
    project = make_project(tmp_path_factory.mktemp("http") / "project", SPELLS)
    with running_server(project) as server:
        yield {"url": f"{server.url}/mcp", "token": server.token}


@pytest.fixture(scope="module")
def over_stdio(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, Any]]:
    project = make_project(tmp_path_factory.mktemp("stdio") / "project", SPELLS)
    yield {"command": [*LLMSPELL, "--project", str(project), "stdio"], "env": environment()}
    stopped = llmspell("stop", cwd=project)  # the bridge started an owner that outlives it
    assert stopped.returncode == 0, stopped.stderr


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


@pytest.fixture(params=["stdio", "http"])
def session(request: pytest.FixtureRequest, client: Client) -> Session:
    """Return what connects, lists, makes the calls it is given, and reports."""
    target: dict[str, Any] = request.getfixturevalue(f"over_{request.param}")

    def run(*calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
        named = [{"name": name, "arguments": arguments} for name, arguments in calls]
        return run_client(client.program, {**target, "era": client.era, "calls": named})

    return run


def test_a_client_lists_the_spells_and_calls_them(client: Client, session: Session) -> None:
    text = f"remember {client.program} {client.era}"
    report = session(
        ("hello", {"name": "Ada"}),
        ("word_count", {"text": "one two  three"}),
        ("notes", {"action": "add", "text": text}),
        ("notes", {"action": "search", "text": text}),
    )
    assert report["server"]["name"] == "llmspell"
    assert report["protocol"] == client.protocol
    tools = {tool["name"]: tool for tool in report["tools"]}
    assert set(SPELLS) <= set(tools)
    assert tools["word_count"]["inputSchema"]["required"] == ["text"]
    assert tools["word_count"]["annotations"]["readOnlyHint"] is True

    hello, counted, added, found = (call["result"] for call in report["calls"])
    assert hello["content"][0]["text"] == "Hello, Ada!"
    assert counted["structuredContent"]["words"] == 3
    assert json.loads(counted["content"][0]["text"]) == counted["structuredContent"]
    assert not added.get("isError")
    assert [note["text"] for note in found["structuredContent"]["notes"]] == [text]


def test_a_client_learns_which_argument_is_wrong_and_goes_on(session: Session) -> None:
    report = session(("word_count", {"text": 7}), ("word_count", {"text": "still here"}))
    wrong, right = (call["result"] for call in report["calls"])
    assert wrong["isError"] is True
    assert "text" in wrong["content"][0]["text"]
    assert "input.invalid" in wrong["content"][0]["text"]
    assert right["structuredContent"]["words"] == 2


def test_an_unknown_tool_is_refused_as_a_wrong_parameter(session: Session) -> None:
    [call] = session(("no_such_spell", {}))["calls"]
    assert call["error"]["code"] == -32602
    assert "no_such_spell" in call["error"]["message"]
