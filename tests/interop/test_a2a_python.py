"""The official Python client of A2A against the real server, over JSON-RPC and over WebSocket."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.client.client import Client, ClientConfig
from a2a.client.client_factory import ClientFactory
from a2a.client.errors import A2AClientError
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import (
    PushNotificationNotSupportedError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from google.protobuf.json_format import MessageToDict, ParseDict

from llmspell.endpoints.a2a.client import register
from llmspell.security.principals import local_caller
from llmspell_protocols.a2a.connection import BINDING
from tests.support.a2a import HEADERS, SECONDS, Serving, serving

BINDINGS = ["JSONRPC", BINDING]

pytestmark = pytest.mark.parametrize("binding", BINDINGS)


@asynccontextmanager
async def client_of(
    server: Serving, binding: str, *, streaming: bool = True
) -> AsyncGenerator[Client]:
    """The SDK's client, made from the card, on one binding."""
    http = httpx.AsyncClient(headers=HEADERS, timeout=SECONDS)
    config = ClientConfig(
        streaming=streaming, httpx_client=http, supported_protocol_bindings=[binding]
    )
    factory = register(ClientFactory(config), headers=HEADERS)
    async with http, asyncio.timeout(SECONDS), await factory.create_from_url(server.url) as client:
        yield client


def request(*parts: dict[str, Any], skill: str | None = None, **more: Any) -> pb.SendMessageRequest:
    body: dict[str, Any] = {
        "messageId": str(uuid.uuid4()),
        "role": "ROLE_USER",
        "parts": list(parts),
        **more,
    }
    if skill:
        body["metadata"] = {"llmspell/skill": skill}
    return ParseDict({"message": body}, pb.SendMessageRequest())


async def send(client: Client, sent: pb.SendMessageRequest) -> dict[str, Any]:
    """Return the task a message ends in, as JSON."""
    items = [MessageToDict(item) async for item in client.send_message(sent)]
    return items[-1]["task"]


def state(task: dict[str, Any]) -> str:
    return task["status"]["state"]


async def test_the_card_lists_every_skill_and_both_bindings(binding: str, tmp_path: Path):
    async with serving(tmp_path) as server, client_of(server, binding) as client:
        card = await client.get_extended_agent_card(pb.GetExtendedAgentCardRequest())
        assert [skill.id for skill in card.skills] == ["add", "count", "echo", "fails", "pieces"]
        assert [each.protocol_binding for each in card.supported_interfaces] == BINDINGS


async def test_a_message_to_a_skill_is_answered_with_its_task(binding: str, tmp_path: Path):
    async with (
        serving(tmp_path) as server,
        client_of(server, binding, streaming=False) as client,
    ):
        task = await send(client, request({"text": "one two three"}, skill="count"))
        assert state(task) == "TASK_STATE_COMPLETED"
        assert task["artifacts"][-1]["parts"][0]["data"] == {"words": 3}
        assert task["history"][0]["parts"] == [{"text": "one two three"}]
        assert task["history"][0]["taskId"] == task["id"]
        known = MessageToDict(await client.get_task(pb.GetTaskRequest(id=task["id"])))
        assert known == task


async def test_a_stream_begins_with_the_task_and_ends_with_its_end(binding: str, tmp_path: Path):
    async with serving(tmp_path) as server, client_of(server, binding) as client:
        sent = request({"data": {"a": 2, "b": 3}}, skill="add")
        items = [MessageToDict(item) async for item in client.send_message(sent)]
        assert state(items[0]["task"]) == "TASK_STATE_SUBMITTED"
        states = [state(item["statusUpdate"]) for item in items if "statusUpdate" in item]
        assert states == ["TASK_STATE_WORKING", "TASK_STATE_COMPLETED"]
        artifacts = [item["artifactUpdate"] for item in items if "artifactUpdate" in item]
        assert artifacts[0]["artifact"]["parts"][0]["data"] == {"sum": 5}
        assert artifacts[0]["lastChunk"] is True


async def test_a_client_that_left_a_stream_finds_the_task_with_nothing_missing(
    binding: str, tmp_path: Path
):
    async with serving(tmp_path) as server, client_of(server, binding) as client:
        stream = client.send_message(request({"text": "go"}, skill="pieces"))
        id = ""
        async for item in stream:
            id = item.task.id or id
            if item.HasField("artifact_update"):
                break
        await stream.aclose()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # a generator

        seen: list[dict[str, Any]] = []
        async for item in client.subscribe(pb.SubscribeToTaskRequest(id=id)):
            seen.append(MessageToDict(item))
            await server.open_gate()
        assert seen[0]["task"]["artifacts"][0]["parts"] == [{"text": "one "}]
        assert seen[1]["artifactUpdate"]["artifact"]["parts"] == [{"text": "two"}]
        assert seen[1]["artifactUpdate"]["append"] is True
        assert state(seen[-1]["statusUpdate"]) == "TASK_STATE_COMPLETED"


async def test_two_subscribers_see_the_same_items(binding: str, tmp_path: Path):
    async with serving(tmp_path) as server, client_of(server, binding) as client:
        run = await server.host.start("pieces", {}, caller=local_caller("a2a"))
        async for event in run.events():
            if event.kind == "part":
                break

        async def watch(ready: asyncio.Event) -> list[dict[str, Any]]:
            seen: list[dict[str, Any]] = []
            async for item in client.subscribe(pb.SubscribeToTaskRequest(id=run.id)):
                seen.append(MessageToDict(item))
                ready.set()
            return seen

        ready = [asyncio.Event(), asyncio.Event()]
        watching = [asyncio.create_task(watch(each)) for each in ready]
        for each in ready:
            await each.wait()
        await server.open_gate()
        await server.open_gate()
        one, two = await asyncio.gather(*watching)
        assert one == two
        assert len(one) == 3


async def test_a_task_is_canceled_once_and_for_all(binding: str, tmp_path: Path):
    async with serving(tmp_path) as server, client_of(server, binding) as client:
        run = await server.host.start("pieces", {}, caller=local_caller("a2a"))
        for _ in range(2):
            canceled = await client.cancel_task(pb.CancelTaskRequest(id=run.id))
            assert state(MessageToDict(canceled)) == "TASK_STATE_CANCELED"
        with pytest.raises(UnsupportedOperationError):
            async for _ in client.subscribe(pb.SubscribeToTaskRequest(id=run.id)):
                pass


async def test_a_task_that_is_returned_at_once_goes_on(binding: str, tmp_path: Path):
    async with (
        serving(tmp_path) as server,
        client_of(server, binding, streaming=False) as client,
    ):
        sent = request({"text": "go"}, skill="pieces")
        sent.configuration.return_immediately = True
        task = await send(client, sent)
        assert state(task) in {"TASK_STATE_SUBMITTED", "TASK_STATE_WORKING"}
        await server.open_gate()
        await server.open_gate()
        await (await server.host.run(task["id"], caller=local_caller())).result()
        done = MessageToDict(await client.get_task(pb.GetTaskRequest(id=task["id"])))
        assert state(done) == "TASK_STATE_COMPLETED"
        assert done["artifacts"] == [{"artifactId": "part", "parts": [{"text": "one two"}]}]


async def test_a_completed_task_takes_no_message_and_cannot_be_canceled(
    binding: str, tmp_path: Path
):
    async with (
        serving(tmp_path) as server,
        client_of(server, binding, streaming=False) as client,
    ):
        task = await send(client, request({"text": "x"}, skill="echo"))
        with pytest.raises(TaskNotCancelableError):
            await client.cancel_task(pb.CancelTaskRequest(id=task["id"]))
        with pytest.raises(UnsupportedOperationError):
            await send(client, request({"text": "again"}, taskId=task["id"]))


async def test_tasks_are_listed_by_page_and_context_newest_first(binding: str, tmp_path: Path):
    async with (
        serving(tmp_path) as server,
        client_of(server, binding, streaming=False) as client,
    ):
        ids: list[str] = []
        for number in range(3):
            sent = request({"text": str(number)}, skill="echo", contextId="talk")
            ids.append((await send(client, sent))["id"])
        await send(client, request({"text": "elsewhere"}, skill="echo"))

        page = await client.list_tasks(pb.ListTasksRequest(context_id="talk", page_size=2))
        assert [task.id for task in page.tasks] == ids[:0:-1]
        assert page.total_size == 3
        assert not any(task.artifacts for task in page.tasks)
        rest = await client.list_tasks(
            pb.ListTasksRequest(
                context_id="talk",
                page_size=2,
                page_token=page.next_page_token,
                include_artifacts=True,
            )
        )
        assert [task.id for task in rest.tasks] == ids[:1]
        assert rest.tasks[0].artifacts[0].parts[0].text == "0"
        assert rest.next_page_token == ""


async def test_a_message_that_names_no_skill_is_asked_and_its_answer_carries_on(
    binding: str, tmp_path: Path
):
    async with (
        serving(tmp_path) as server,
        client_of(server, binding, streaming=False) as client,
    ):
        task = await send(client, request({"text": "one two"}))
        assert state(task) == "TASK_STATE_INPUT_REQUIRED"
        asked = task["status"]["message"]["parts"]
        assert "2. count" in asked[0]["text"]
        assert [skill["id"] for skill in asked[1]["data"]["skills"]][1] == "count"

        again = await send(client, request({"text": "the blue one"}, taskId=task["id"]))
        assert (again["id"], state(again)) == (task["id"], "TASK_STATE_INPUT_REQUIRED")

        done = await send(client, request({"text": "2"}, taskId=task["id"]))
        assert (done["id"], state(done)) == (task["id"], "TASK_STATE_COMPLETED")
        assert done["contextId"] == task["contextId"]
        assert done["artifacts"][-1]["parts"][0]["data"] == {"words": 2}


async def test_a_failed_task_says_why(binding: str, tmp_path: Path):
    async with (
        serving(tmp_path) as server,
        client_of(server, binding, streaming=False) as client,
    ):
        task = await send(client, request({"text": "go"}, skill="fails"))
        assert state(task) == "TASK_STATE_FAILED"
        said = task["status"]["message"]
        assert "no luck today" in said["parts"][0]["text"]
        assert said["metadata"]["llmspell/error"]["code"] == "spell.raised"
        assert said["metadata"]["llmspell/error"]["run_id"] == task["id"]


async def test_an_unknown_task_is_not_found_by_any_operation(binding: str, tmp_path: Path):
    async with serving(tmp_path) as server, client_of(server, binding) as client:
        with pytest.raises(TaskNotFoundError):
            await client.get_task(pb.GetTaskRequest(id="nope"))
        with pytest.raises(TaskNotFoundError):
            await client.cancel_task(pb.CancelTaskRequest(id="nope"))
        with pytest.raises(TaskNotFoundError):
            await send(client, request({"text": "x"}, taskId="nope"))
        with pytest.raises(TaskNotFoundError):
            async for _ in client.subscribe(pb.SubscribeToTaskRequest(id="nope")):
                pass


async def test_push_notifications_are_refused_as_the_card_says(binding: str, tmp_path: Path):
    async with serving(tmp_path) as server, client_of(server, binding) as client:
        config = pb.TaskPushNotificationConfig(task_id="t", url="https://example.com/hook")
        with pytest.raises(PushNotificationNotSupportedError):
            await client.create_task_push_notification_config(config)
        with pytest.raises(PushNotificationNotSupportedError):
            await client.delete_task_push_notification_config(
                pb.DeleteTaskPushNotificationConfigRequest(task_id="t", id="c")
            )


async def test_a_client_without_the_token_is_refused(binding: str, tmp_path: Path):
    async with serving(tmp_path) as server:
        config = ClientConfig(supported_protocol_bindings=[binding])
        client = await register(ClientFactory(config)).create_from_url(server.url)
        async with client:
            with pytest.raises(A2AClientError, match="401"):
                await client.get_task(pb.GetTaskRequest(id="t"))
