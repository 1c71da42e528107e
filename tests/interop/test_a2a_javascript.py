"""The official JavaScript client of A2A against a real server, over the JSON-RPC binding."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from tests.support.node import run_client
from tests.support.servers import Server, make_project, running_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    project = make_project(
        tmp_path_factory.mktemp("a2a") / "project", ("hello", "word_count", "notes")
    )
    with running_server(project) as running:
        yield running


def send(server: Server, *messages: dict[str, Any]) -> dict[str, Any]:
    job = {"url": server.url, "token": server.token, "messages": list(messages)}
    return run_client("a2a_v1.mjs", job)


def words_of(artifacts: list[dict[str, Any]]) -> list[int]:
    """Return the counts that the data parts of some artifacts hold."""
    parts = [part for artifact in artifacts for part in artifact["parts"]]
    return [part["data"]["words"] for part in parts if "data" in part]


def test_a_client_reads_the_card_and_sends_a_message_to_a_skill(server: Server) -> None:
    report = send(server, {"skill": "word_count", "data": {"text": "one two three"}})
    assert {"hello", "word_count", "notes"} <= {skill["id"] for skill in report["card"]["skills"]}

    task = report["answers"][0]["task"]
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert words_of(task["artifacts"]) == [3]
    # What GetTask and ListTasks know is what SendMessage answered.
    assert report["tasks"][0]["status"] == task["status"]
    assert report["tasks"][0]["artifacts"] == task["artifacts"]
    assert task["id"] in report["listed"]


def test_a_text_fills_the_only_string_field_of_the_skill(server: Server) -> None:
    report = send(server, {"skill": "word_count", "text": "one two"})
    assert words_of(report["answers"][0]["task"]["artifacts"]) == [2]


def test_a_stream_begins_with_the_task_and_ends_with_its_final_state(server: Server) -> None:
    report = send(server, {"skill": "word_count", "text": "one two", "stream": True})
    stream = report["answers"][0]["stream"]
    assert "task" in stream[0]
    assert stream[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
    updates = [item["artifactUpdate"]["artifact"] for item in stream if "artifactUpdate" in item]
    assert words_of(updates) == [2]


def test_a_message_that_names_no_skill_is_asked_which_one_it_means(server: Server) -> None:
    report = send(server, {"text": "hello there"})
    status = report["answers"][0]["task"]["status"]
    assert status["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert "word_count" in status["message"]["parts"][0]["text"]
