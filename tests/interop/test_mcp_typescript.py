"""The official TypeScript clients of MCP, both versions, against a real server over both wires.

Each client has one session with each server, in which it does all there is to do; the tests look
at what came of it.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from tests.support.interop import ADDED, BUNDLED, make_interop_project
from tests.support.node import run_client
from tests.support.servers import LLMSPELL, environment, llmspell, running_server


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


class Target(NamedTuple):
    """A server, as the clients' programs are told of it."""

    job: dict[str, Any]
    project: Path


class Session(NamedTuple):
    """What a client did, and what came of it."""

    client: Client
    mark: str
    """A text no other session uses."""
    report: dict[str, Any]

    def came(self, step: str) -> Any:
        """Return what a step came to."""
        return self.report["steps"][step]

    def result(self, step: str) -> dict[str, Any]:
        """Return the result of a call."""
        return self.came(step)["result"]

    def text(self, step: str) -> str:
        """Return the text of a call's result."""
        return self.result(step)["content"][0]["text"]


@pytest.fixture(scope="module")
def over_http(tmp_path_factory: pytest.TempPathFactory) -> Generator[Target]:
    project = make_interop_project(tmp_path_factory.mktemp("http") / "project")
    with running_server(project) as server:
        yield Target({"url": f"{server.url}/mcp", "token": server.token}, project)


@pytest.fixture(scope="module")
def over_stdio(tmp_path_factory: pytest.TempPathFactory) -> Generator[Target]:
    project = make_interop_project(tmp_path_factory.mktemp("stdio") / "project")
    command = [*LLMSPELL, "--project", str(project), "stdio"]
    yield Target({"command": command, "env": environment()}, project)
    stopped = llmspell("stop", cwd=project)  # the bridge started an owner that outlives it
    assert stopped.returncode == 0, stopped.stderr


@pytest.fixture(scope="module", params=["stdio", "http"])
def target(request: pytest.FixtureRequest) -> Target:
    return request.getfixturevalue(f"over_{request.param}")


@pytest.fixture(scope="module", params=CLIENTS)
def session(request: pytest.FixtureRequest, target: Target) -> Session:
    client = CLIENTS[request.param]
    mark = f"mark_{uuid4().hex[:8]}"
    job = {
        **target.job,
        "era": client.era,
        "answer": {"ok": True, "by": "Ada"},
        "steps": steps(mark, target.project / "spells" / f"{mark}.lua"),
    }
    return Session(client, mark, run_client(client.program, job))


def call(name: str, arguments: dict[str, Any] | None = None, **rest: Any) -> dict[str, Any]:
    return {"do": "call", "name": name, "arguments": arguments or {}, **rest}


def steps(mark: str, added: Path) -> dict[str, Any]:
    """Return what a client does."""
    run_id = "${job.result.structuredContent.run_id}"
    return {
        "tools": {"do": "tools"},
        "hello": call("hello", {"name": "Ada"}),
        "counted": call("word_count", {"text": "one two  three"}),
        "noted": call("notes", {"action": "add", "text": mark}),
        "found": call("notes", {"action": "search", "text": mark}),
        "wrong": call("word_count", {"text": 7}),
        "unknown": call("no_such_spell"),
        "progress": call("steps"),
        "given_up": call("waits", {"text": mark}, cancel=True),
        "after": call("hello", {"name": "Bo"}),
        "approval": call("approve", {"what": "deploy"}),
        "job": call("long_job", {"gate": mark}),
        "subscribed": {"do": "subscribe", "uri": f"run://{run_id}"},
        "released": call("release", {"gate": mark}),
        "updated": {
            "do": "hear",
            "method": "notifications/resources/updated",
            "uri": f"run://{run_id}",
        },
        "ended": call("run_result", {"run_id": run_id, "wait": 10}),
        "read": {"do": "read", "uri": f"run://{run_id}/result"},
        "written": {"do": "write", "path": str(added), "text": ADDED},
        "changed": {
            "do": "hear",
            "method": "notifications/tools/list_changed",
            "from": "${written}",
        },
        "tools_then": {"do": "tools"},
        "added": call(mark),
        "source": {"do": "read", "uri": f"spell://{mark}"},
    }


def test_a_client_lists_the_spells_with_their_schemas_and_hints(session: Session) -> None:
    assert session.report["server"]["name"] == "llmspell"
    assert session.report["protocol"] == session.client.protocol
    tools = {tool["name"]: tool for tool in session.came("tools")}
    assert set(BUNDLED) <= set(tools)
    assert tools["word_count"]["inputSchema"]["required"] == ["text"]
    assert tools["word_count"]["annotations"]["readOnlyHint"] is True


def test_a_client_calls_spells(session: Session) -> None:
    assert session.text("hello") == "Hello, Ada!"
    assert session.result("counted")["structuredContent"]["words"] == 3
    assert json.loads(session.text("counted")) == session.result("counted")["structuredContent"]
    assert not session.result("noted").get("isError")
    found = session.result("found")["structuredContent"]["notes"]
    assert [note["text"] for note in found] == [session.mark]


def test_a_client_learns_which_argument_is_wrong(session: Session) -> None:
    assert session.result("wrong")["isError"] is True
    assert "text" in session.text("wrong")
    assert "input.invalid" in session.text("wrong")


def test_an_unknown_tool_is_refused_as_a_wrong_parameter(session: Session) -> None:
    error = session.came("unknown")["error"]
    assert error["code"] == -32602
    assert "no_such_spell" in error["message"]


def test_a_client_hears_of_progress(session: Session) -> None:
    heard = session.came("progress")["progress"]
    assert [(one["progress"], one["total"], one["message"]) for one in heard] == [
        (number, 3, f"step {number}") for number in (1, 2, 3)
    ]
    assert session.text("progress") == "done"


def test_a_client_gives_a_call_up_and_the_run_ends(session: Session, target: Target) -> None:
    given_up = session.came("given_up")
    assert "error" in given_up
    assert given_up["progress"][0]["message"] == session.mark
    assert session.text("after") == "Hello, Bo!"
    listed = llmspell("runs", "list", "--json", "--state", "working", cwd=target.project)
    assert "waits" not in listed.stdout


def test_a_client_asks_its_user(session: Session) -> None:
    [asked] = session.report["asked"]
    assert asked["message"] == "May I deploy?"
    assert set(asked["requestedSchema"]["properties"]) == {"ok", "by"}
    assert session.text("approval") == "approved by Ada"


def test_what_takes_long_is_followed_by_its_handle_and_its_resource(session: Session) -> None:
    handle = session.result("job")["structuredContent"]
    assert not session.result("job").get("isError")
    assert handle["status"] == "working"
    assert session.came("updated")["params"]["uri"] == f"run://{handle['run_id']}"
    assert session.result("ended")["structuredContent"]["work"] == "done"
    assert json.loads(session.came("read")[0]["text"]) == {"work": "done"}


def test_a_client_hears_of_a_new_spell_and_calls_it(session: Session) -> None:
    assert session.mark not in {tool["name"] for tool in session.came("tools")}
    assert session.mark in {tool["name"] for tool in session.came("tools_then")}
    assert session.text("added") == "new"
    assert session.came("source")[0]["text"] == ADDED
