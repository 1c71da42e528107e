"""Notices of changes: who hears what, in both eras, and who never does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPDeprecationWarning

from llmspell.endpoints.mcp.changes import MAX_STREAMS_OF_ONE, MAX_SUBSCRIPTIONS
from llmspell.endpoints.mcp.exchange import TASKS
from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.endpoints.mcp.subscribers import Notice, Subscriber
from llmspell.host.host import Host
from llmspell.security.principals import Caller, local_caller
from tests.support.mcp import ENVELOPE, SECONDS, Pipe, client_transport, open_host, pipe_to

ID = "io.modelcontextprotocol/subscriptionId"
KNOWS_TASKS: dict[str, Any] = {
    **ENVELOPE,
    "io.modelcontextprotocol/clientCapabilities": {"extensions": {TASKS: {}}},
}

SPELLS = {
    "asks": """
-- Asks once.
return Spell.create {
  input = {},
  resources = {
    Resource.create { name = "live", uri = "live://now", read = function() return "x" end },
  },
  run = function(_, ctx)
    ctx:progress(1, 2, "half")
    local answer = ctx:ask { message = "go on?" }
    ctx:changed("live://now")
    return "went on"
  end,
}
""",
    "touch": """
-- Changes what a resource holds.
return Spell.create { input = {}, run = function(_, ctx) ctx:changed("live://now") end }
""",
}

PROMPT = 'return Prompt.create { messages = "hello" }\n'


@asynccontextmanager
async def served(directory: Path) -> AsyncGenerator[tuple[Host, McpEndpoint, Pipe]]:
    async with open_host(directory, SPELLS) as host:
        endpoint = McpEndpoint(host)
        try:
            async with pipe_to(endpoint) as pipe:
                yield host, endpoint, pipe
        finally:
            await endpoint.close()


async def listen(
    pipe: Pipe, filter: dict[str, Any], *, id: Any = "s1", meta: dict[str, Any] = ENVELOPE
) -> dict[str, Any]:
    """Open a stream and return the first message on it."""
    await pipe.send("subscriptions/listen", {"notifications": filter, "_meta": meta}, id=id)
    return await pipe.receive()


async def begun(host: Host, caller: Caller | None = None) -> str:
    """Begin a run that waits for an answer, and return its id."""
    handle = await host.start("asks", {}, caller=caller or local_caller("mcp"))
    await handle.result()
    return handle.id


async def answer(host: Host, run_id: str) -> None:
    handle = await host.run(run_id, caller=local_caller("mcp"))
    await handle.answer({"ok": True})
    await handle.result()


# -- 2026-07-28


async def test_the_acknowledgement_comes_first_and_names_what_is_heard(tmp_path: Path) -> None:
    async with served(tmp_path) as (host, _, pipe):
        run_id = await begun(host)
        ack = await listen(
            pipe,
            {
                "toolsListChanged": True,
                "promptsListChanged": False,
                "resourceSubscriptions": ["live://now", "nowhere://", f"run://{run_id}/log"],
            },
        )
        assert ack["method"] == "notifications/subscriptions/acknowledged"
        assert ack["params"] == {
            "notifications": {
                "toolsListChanged": True,
                "resourceSubscriptions": ["live://now", f"run://{run_id}/log"],
            },
            "_meta": {ID: "s1"},
        }


async def test_a_stream_hears_of_what_it_asked_for_and_of_nothing_else(tmp_path: Path) -> None:
    async with served(tmp_path) as (host, _, pipe):
        await listen(pipe, {"promptsListChanged": True}, id=7)
        (tmp_path / "spells/new.lua").write_text(
            "return Spell.create { input = {}, run = function() end }"
        )
        await host.reload()  # changes tools and resources, which nobody asked for
        (tmp_path / "spells/hello.lua").write_text(PROMPT)
        await host.reload()
        notice = await pipe.receive()
        assert notice["method"] == "notifications/prompts/list_changed"
        assert notice["params"] == {"_meta": {ID: 7}}


async def test_a_changed_source_is_told_to_who_reads_it(tmp_path: Path) -> None:
    async with served(tmp_path) as (host, _, pipe):
        await listen(pipe, {"resourceSubscriptions": ["spell://touch", "live://now"]})
        path = tmp_path / "spells/touch.lua"
        path.write_text(path.read_text() + "-- more\n")
        await host.reload()
        notice = await pipe.receive()
        assert notice["params"] == {"uri": "spell://touch", "_meta": {ID: "s1"}}


async def test_a_spell_tells_that_a_resource_changed(tmp_path: Path) -> None:
    async with served(tmp_path) as (host, _, pipe):
        await listen(pipe, {"resourceSubscriptions": ["live://now"]})
        await host.cast("touch", {}, caller=Caller(principal="p", tenant="another"))
        await host.cast("touch", {}, caller=Caller(principal="somebody"))
        notice = await pipe.receive()
        assert notice["method"] == "notifications/resources/updated"
        await pipe.send("notifications/cancelled", {"requestId": "s1"})
        # One notice: what the other tenant changed is not this one's business.
        assert (await pipe.request("tools/list", {"_meta": ENVELOPE}))["result"]


async def test_a_run_is_followed_to_its_end(tmp_path: Path) -> None:
    async with served(tmp_path) as (host, _, pipe):
        run_id = await begun(host)
        await listen(pipe, {"resourceSubscriptions": [f"run://{run_id}/result", f"run://{run_id}"]})
        await answer(host, run_id)
        uris: list[str] = []
        async with asyncio.timeout(SECONDS):
            while f"run://{run_id}/result" not in uris:
                uris.append((await pipe.receive())["params"]["uri"])
        assert f"run://{run_id}" in uris


async def test_a_task_is_told_of_in_full_until_it_has_ended(tmp_path: Path) -> None:
    async with served(tmp_path) as (host, _, pipe):
        run_id = await begun(host)
        ack = await listen(pipe, {"taskIds": [run_id, "unknown"]}, meta=KNOWS_TASKS)
        assert ack["params"]["notifications"] == {"taskIds": [run_id]}
        await answer(host, run_id)
        statuses: list[str] = []
        message: dict[str, Any] = {}
        async with asyncio.timeout(SECONDS):
            while "completed" not in statuses:
                message = await pipe.receive()
                assert message["method"] == "notifications/tasks"
                assert message["params"]["_meta"] == {ID: "s1"}
                assert message["params"]["taskId"] == run_id
                statuses.append(message["params"]["status"])
        got = await pipe.request("tasks/get", {"taskId": run_id, "_meta": KNOWS_TASKS})
        told = {key: value for key, value in message["params"].items() if key != "_meta"}
        shown = {key: value for key, value in got["result"].items() if key in told}
        assert told == shown


async def test_a_task_that_has_ended_already_is_told_of_at_once(tmp_path: Path) -> None:
    async with served(tmp_path) as (host, _, pipe):
        outcome = await host.cast("touch", {}, caller=local_caller("mcp"))
        await listen(pipe, {"taskIds": [outcome.run_id]}, meta=KNOWS_TASKS)
        assert (await pipe.receive())["params"]["status"] == "completed"


async def test_tasks_are_for_clients_that_know_them(tmp_path: Path) -> None:
    async with served(tmp_path) as (host, _, pipe):
        refusal = await listen(pipe, {"taskIds": [await begun(host)]})
        assert refusal["error"]["code"] == -32021
        assert refusal["error"]["data"]["requiredCapabilities"] == {"extensions": {TASKS: {}}}


async def test_nobody_hears_of_the_runs_of_somebody_else(tmp_path: Path) -> None:
    async with served(tmp_path) as (host, _, pipe):
        run_id = await begun(host, Caller(principal="somebody", door="mcp"))
        ack = await listen(
            pipe,
            {"taskIds": [run_id], "resourceSubscriptions": [f"run://{run_id}"]},
            meta=KNOWS_TASKS,
        )
        assert ack["params"]["notifications"] == {}


async def test_too_many_subscriptions_and_streams_are_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, _, pipe):
        uris = [f"a://{number}" for number in range(MAX_SUBSCRIPTIONS + 1)]
        assert (await listen(pipe, {"resourceSubscriptions": uris}))["error"]["code"] == -32602
        for number in range(MAX_STREAMS_OF_ONE):
            assert "error" not in await listen(pipe, {}, id=number)
        assert (await listen(pipe, {}, id="more"))["error"]["code"] == -32603
        await pipe.send("notifications/cancelled", {"requestId": 0})
        async with asyncio.timeout(SECONDS):
            while "error" in await listen(pipe, {}, id="again"):
                pass  # the cancelled one has not ended yet


async def test_streams_end_with_their_result_when_the_server_does(tmp_path: Path) -> None:
    async with served(tmp_path) as (host, endpoint, pipe):
        await listen(pipe, {"resourceSubscriptions": ["live://now"]})
        await host.cast("touch", {})
        await endpoint.end_streams()
        assert (await pipe.receive())["method"] == "notifications/resources/updated"
        last = await pipe.receive()
        assert last["id"] == "s1"
        assert last["result"]["_meta"][ID] == "s1"


# -- before


async def test_a_connection_hears_of_lists_and_of_what_it_subscribed_to(tmp_path: Path) -> None:
    async with served(tmp_path) as (host, _, pipe):
        answer = await pipe.initialize()
        capabilities = answer["result"]["capabilities"]
        assert capabilities["resources"] == {"subscribe": True, "listChanged": True}
        assert capabilities["prompts"] == {"listChanged": True}
        assert (await pipe.request("resources/subscribe", {"uri": "live://now"}))["result"] == {}
        assert (await pipe.request("resources/subscribe", {"uri": "live://now"}))["result"] == {}
        await host.cast("touch", {})
        notice = await pipe.receive()
        assert notice == {
            "jsonrpc": "2.0",
            "method": "notifications/resources/updated",
            "params": {"uri": "live://now"},
        }
        (tmp_path / "spells/hello.lua").write_text(PROMPT)
        await host.reload()
        assert (await pipe.receive())["method"] == "notifications/prompts/list_changed"
        await pipe.request("resources/unsubscribe", {"uri": "live://now"})
        await pipe.request("resources/unsubscribe", {"uri": "live://never"})
        await host.cast("touch", {})
        assert "result" in await pipe.request("ping")


async def test_a_connection_cannot_subscribe_to_what_is_not_there(tmp_path: Path) -> None:
    async with served(tmp_path) as (host, _, pipe):
        await pipe.initialize()
        other = await begun(host, Caller(principal="somebody", door="mcp"))
        for uri in ("nowhere://", f"run://{other}", "spell://nobody", "file:///etc/passwd"):
            error = (await pipe.request("resources/subscribe", {"uri": uri}))["error"]
            assert (error["code"], error["data"]) == (-32002, {"uri": uri})


async def test_a_subscribed_run_is_told_of_until_it_has_ended(tmp_path: Path) -> None:
    async with served(tmp_path) as (host, _, pipe):
        await pipe.initialize()
        run_id = await begun(host)
        await pipe.request("resources/subscribe", {"uri": f"run://{run_id}/result"})
        await answer(host, run_id)
        assert (await pipe.receive())["params"] == {"uri": f"run://{run_id}/result"}


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_official_client_hears_of_a_resource(tmp_path: Path, mode: Any) -> None:
    heard: list[Any] = []
    told = asyncio.Event()

    async def hear(message: Any) -> None:
        heard.append(message)
        told.set()

    async with open_host(tmp_path, SPELLS) as host:
        endpoint = McpEndpoint(host)
        async with (
            client_transport(endpoint) as streams,
            Client(_Transport(streams), mode=mode, message_handler=hear) as client,
        ):
            async with asyncio.timeout(SECONDS):
                if mode == "legacy":
                    with pytest.warns(MCPDeprecationWarning):
                        await client.subscribe_resource("live://now")  # pyright: ignore[reportDeprecated]  # the only way before 2026-07-28
                    await host.cast("touch", {})
                    await told.wait()
                    assert "live://now" in str(heard)
                else:
                    async with client.listen(resource_subscriptions=["live://now"]) as stream:
                        await host.cast("touch", {})
                        assert "live://now" in str(await anext(aiter(stream)))
        await endpoint.close()


# -- one subscriber


def test_what_waits_to_be_told_is_told_once() -> None:
    subscriber = Subscriber(local_caller(), lists={"tools"}, uris={"a://"})
    for _ in range(1000):
        assert subscriber.tell(Notice("resource", "a://"))
        assert not subscriber.tell(Notice("resource", "b://"))
        assert subscriber.tell(Notice("list", "tools"))
    assert subscriber.take() == Notice("resource", "a://")
    assert subscriber.tell(Notice("resource", "a://"))
    assert [subscriber.take() for _ in range(3)] == [
        Notice("list", "tools"),
        Notice("resource", "a://"),
        None,
    ]


async def test_a_subscription_that_ends_tells_what_waits_first() -> None:
    subscriber = Subscriber(local_caller(), tasks={"t"})
    subscriber.tell(Notice("task", "t"))
    subscriber.end()
    assert not subscriber.tell(Notice("task", "t"))
    assert await subscriber.next() == Notice("task", "t")
    assert await subscriber.next() is None


class _Transport:
    """A pair of streams as the official client takes its transport."""

    def __init__(self, streams: Any) -> None:
        self._streams = streams

    async def __aenter__(self) -> Any:
        return self._streams

    async def __aexit__(self, *_: object) -> None:
        pass
