"""The command line of the MCP inspector, in both eras, over stdio and over HTTP."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from tests.support.interop import ADDED, BUNDLED, make_interop_project
from tests.support.mcp import write_spell
from tests.support.node import inspect
from tests.support.servers import LLMSPELL, environment, llmspell, running_server


class Target(NamedTuple):
    """A server, as the inspector is told of it."""

    options: tuple[str, ...]
    command: tuple[str, ...]
    project: Path


class Inspector(NamedTuple):
    """The inspector in one era, at one server."""

    target: Target
    era: str
    home: Path

    def run(self, method: str, *options: str) -> dict[str, Any]:
        """Return the result of a request, or what went wrong as `{"error": ...}`."""
        done = inspect(
            *self.target.options,
            *("--protocol-era", self.era, "--method", method, *options),
            *self.target.command,
            home=self.home,
        )
        printed = done.stdout if done.returncode == 0 else done.stderr
        assert printed.strip(), (done.returncode, done.stdout, done.stderr)
        answer: dict[str, Any] = json.loads(printed.strip().splitlines()[-1])
        return answer.get("result", answer)

    def call(self, name: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result of a tool call."""
        options = ("--tool-name", name, "--tool-args-json", json.dumps(arguments or {}))
        return self.run("tools/call", *options)


@pytest.fixture(scope="module")
def over_http(tmp_path_factory: pytest.TempPathFactory) -> Generator[Target]:
    project = make_interop_project(tmp_path_factory.mktemp("http") / "project")
    with running_server(project) as server:
        header = f"Authorization: Bearer {server.token}"
        options = ("--transport", "http", "--header", header, "--server-url", f"{server.url}/mcp")
        yield Target(options, (), project)


@pytest.fixture(scope="module")
def over_stdio(tmp_path_factory: pytest.TempPathFactory) -> Generator[Target]:
    project = make_interop_project(tmp_path_factory.mktemp("stdio") / "project")
    variables = environment()
    names = ("PYTHONPATH", "LLMSPELL_ALLOW_NETWORK")
    passed = [part for name in names for part in ("-e", f"{name}={variables[name]}")]
    command = ("--", *LLMSPELL, "--project", str(project), "stdio")
    yield Target(("--transport", "stdio", *passed), command, project)
    stopped = llmspell("stop", cwd=project)  # the bridge started an owner that outlives it
    assert stopped.returncode == 0, stopped.stderr


@pytest.fixture(params=["stdio", "http"])
def target(request: pytest.FixtureRequest) -> Target:
    return request.getfixturevalue(f"over_{request.param}")


@pytest.fixture(params=["legacy", "modern"])
def inspector(
    request: pytest.FixtureRequest, target: Target, tmp_path_factory: pytest.TempPathFactory
) -> Inspector:
    return Inspector(target, request.param, tmp_path_factory.mktemp("home"))


def text_of(result: dict[str, Any]) -> str:
    return result["content"][0]["text"]


def test_it_lists_the_tools_and_finds_no_fault_in_their_schemas(inspector: Inspector) -> None:
    tools = inspector.run("tools/list", "--strict")["tools"]
    assert set(BUNDLED) <= {tool["name"] for tool in tools}


def test_it_calls_a_spell(inspector: Inspector) -> None:
    assert text_of(inspector.call("hello", {"name": "Ada"})) == "Hello, Ada!"


def test_a_call_that_takes_long_comes_to_its_result(inspector: Inspector) -> None:
    assert text_of(inspector.call("slow")) == "at last"


def test_a_run_that_a_client_left_is_read_by_another(target: Target, tmp_path: Path) -> None:
    gate = uuid4().hex
    one, other = (Inspector(target, era, tmp_path) for era in ("legacy", "modern"))
    handle = one.call("long_job", {"gate": gate})["structuredContent"]
    assert handle["status"] == "working"
    other.call("release", {"gate": gate})
    result = other.call("run_result", {"run_id": handle["run_id"]})
    assert result["structuredContent"]["work"] == "done"


def test_a_question_nobody_answers_there_is_answered_elsewhere(
    target: Target, tmp_path: Path
) -> None:
    inspector = Inspector(target, "legacy", tmp_path)  # in the modern era it waits for a terminal
    asked = inspector.call("approve", {"what": "deploy"})
    run_id = asked["_meta"]["llmspell/run_id"]
    assert "May I deploy?" in text_of(asked)
    answered = llmspell("runs", "answer", run_id, '{"ok": true, "by": "Ada"}', cwd=target.project)
    assert answered.returncode == 0, answered.stderr
    assert text_of(inspector.call("run_result", {"run_id": run_id})) == "approved by Ada"


def test_it_reads_and_calls_a_spell_that_came_meanwhile(inspector: Inspector) -> None:
    name = f"added_{uuid4().hex[:8]}"
    write_spell(inspector.target.project, name, ADDED)
    reading = ("resources/read", "--uri", f"spell://{name}")
    # The server sees the file within the time the inspector takes to start, or a little later.
    found = next((read for _ in range(5) if "contents" in (read := inspector.run(*reading))), None)
    assert found is not None
    assert found["contents"][0]["text"].strip() == ADDED.strip()
    assert text_of(inspector.call(name)) == "new"
