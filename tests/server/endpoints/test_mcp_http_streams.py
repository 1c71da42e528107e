"""Streams of the handshake era over HTTP: they outlive connections, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmspell.endpoints.mcp.http.door import HttpLimits
from tests.support.mcp import SECONDS, SPELLS, write_spell
from tests.support.mcp_http import Event, RawClient, Served, served, serving

PROGRESS = "notifications/progress"
LIST_CHANGED = "notifications/tools/list_changed"


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncGenerator[Served]:
    async with serving(tmp_path) as found:
        yield found


@pytest_asyncio.fixture
async def client(site: Served) -> AsyncGenerator[RawClient]:
    async with site.client() as found:
        await found.initialize(capabilities={"elicitation": {}})
        yield found


async def let_go(client: RawClient) -> None:
    assert (await client.send(client.call("let_go"))).status_code == 200


def text_of(event: Any) -> str:
    return event.data["result"]["content"][0]["text"]


async def test_a_long_call_is_a_stream_that_begins_with_an_id_to_come_back_with(
    client: RawClient,
) -> None:
    async with client.streaming(client.call("held")) as stream:
        primed = await anext(stream)
        assert primed.id
        assert primed.data is None
        assert primed.retry is not None
        await let_go(client)
        [answer] = await stream.rest()
    assert answer.id
    assert text_of(answer) == "let go"


async def test_a_client_of_before_is_sent_no_empty_event(site: Served) -> None:
    async with site.client() as client:
        await client.initialize("2025-06-18")
        async with client.streaming(client.call("held", progressToken=1)) as stream:
            assert (await anext(stream)).method == PROGRESS
            await let_go(client)
            assert text_of((await stream.rest())[-1]) == "let go"


async def test_a_call_goes_on_when_its_connection_is_lost_and_its_answer_can_be_fetched(
    client: RawClient,
) -> None:
    async with client.streaming(client.call("held", progressToken=1)) as stream:
        seen = await stream.until(PROGRESS)
    await let_go(client)
    rest: list[Event] = []
    for _ in range(2):  # the connection may break again
        async with client.listening(seen.id) as again:
            rest = await again.rest()
        assert [event.method for event in rest] == [PROGRESS, ""]
        assert rest[0].data["params"]["message"] == "going on"
        assert text_of(rest[-1]) == "let go"
    async with client.listening(rest[0].id) as again:
        assert [text_of(event) for event in await again.rest()] == ["let go"]


async def test_a_client_that_comes_back_early_hears_the_rest_as_it_happens(
    client: RawClient,
) -> None:
    async with client.streaming(client.call("held", progressToken=1)) as stream:
        primed = await stream.until(PROGRESS)
    async with client.listening(primed.id) as again:
        await let_go(client)
        assert text_of((await again.rest())[-1]) == "let go"


async def test_an_answer_that_was_lost_with_its_server_is_waited_for_no_longer(
    site: Served, client: RawClient
) -> None:
    held = client.call("held", progressToken=1)
    async with client.streaming(held) as stream:
        seen = await stream.until(PROGRESS)
        session = client.session
        async with asyncio.timeout(SECONDS):
            await site.server.close()
        rest = await stream.rest()
    assert not [event for event in rest if event.data and "id" in event.data]
    async with served(site.host, site.keys) as second, second.client() as client:
        client.session = session
        async with client.listening(seen.id) as again:
            [told] = await again.rest()
        assert told.data["id"] == held["id"]
        assert told.data["error"]["code"] == -32603
        assert "restarted" in told.data["error"]["message"]
        data = told.data["error"]["data"]
        assert f'run_result with {{"run_id": "{data["run_id"]}"}}' in data["hint"]
        found = await client.send(client.call("run_result", {"run_id": data["run_id"], "wait": 0}))
        assert found.json()["result"]["_meta"]["llmspell/run_id"] == data["run_id"]


async def test_a_call_whose_client_stays_away_is_given_up(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, limits=HttpLimits(resume_within=0.01)) as site,
        site.client() as client,
    ):
        await client.initialize()
        held = client.call("held", progressToken=1)
        async with client.streaming(held) as stream:
            seen = await stream.until(PROGRESS)
        assert (await site.ended_run()).state == "canceled"
        async with client.listening(seen.id) as again:
            [told] = await again.rest()
        assert (told.data["id"], told.data["error"]["code"]) == (held["id"], -32800)


NESTED = base64.urlsafe_b64encode(b"[" * 30_000).decode()


@pytest.mark.parametrize(
    "last",
    ["", "x", "a.b.c", "a.!.1", "deadbeef.g.7", "x.g.x", "....", "a.MQ.<b>.1", f"a.{NESTED}.1"],
    ids=lambda last: last[:20],
)
async def test_an_event_nobody_knows_is_no_fault_of_the_server(
    client: RawClient, last: str
) -> None:
    async with client.http.stream(
        "GET", "/mcp", headers={**client.in_session, "last-event-id": last}
    ) as response:
        assert response.status_code == 200


async def test_a_call_that_is_cancelled_ends_without_an_answer(
    site: Served, client: RawClient
) -> None:
    held = client.call("held", progressToken=1)
    async with client.streaming(held) as stream:
        seen = await stream.until(PROGRESS)
        cancelled = {
            "jsonrpc": "2.0",
            "method": "notifications/cancelled",
            "params": {"requestId": held["id"]},
        }
        assert (await client.send(cancelled)).status_code == 202
        assert [event.data for event in await stream.rest() if event.data] == []
    assert (await site.ended_run()).state == "canceled"
    async with client.listening(seen.id) as again:
        [told] = await again.rest()
    assert (told.data["id"], told.data["error"]["code"]) == (held["id"], -32800)
    assert (await client.send(cancelled)).status_code == 202  # it is over: nothing to cancel


async def test_a_session_that_is_deleted_ends_its_calls_and_says_so(
    site: Served, client: RawClient
) -> None:
    held = client.call("held", progressToken=1)
    async with client.streaming(held) as stream:
        await stream.until(PROGRESS)
        await client.http.request("DELETE", "/mcp", headers=client.in_session)
        [told] = await stream.rest()
    assert (told.data["id"], told.data["error"]["code"]) == (held["id"], -32800)
    assert (await site.ended_run()).state == "canceled"


async def test_a_question_goes_out_on_the_stream_of_the_call_that_asks(client: RawClient) -> None:
    async with client.streaming(client.call("asks")) as stream:
        asked = await stream.until("elicitation/create")
        assert asked.data["params"]["message"] == "Who?"
        answer = {"action": "accept", "content": {"name": "Ada"}}
        for _ in range(2):  # twice is once
            told = {"jsonrpc": "2.0", "id": asked.data["id"], "result": answer}
            assert (await client.send(told)).status_code == 202
        assert text_of((await stream.rest())[-1]) == "hello Ada"


async def test_a_question_is_answered_by_a_client_that_lost_the_connection(
    client: RawClient,
) -> None:
    async with client.streaming(client.call("asks")) as stream:
        asked = await stream.until("elicitation/create")
    answer = {"action": "accept", "content": {"name": "Ada"}}
    await client.send({"jsonrpc": "2.0", "id": asked.data["id"], "result": answer})
    async with client.listening(asked.id) as again:
        assert text_of((await again.rest())[-1]) == "hello Ada"


async def test_an_answer_to_nothing_is_taken_and_dropped(client: RawClient) -> None:
    answers: list[dict[str, Any]] = [{"result": {}}, {"error": {"code": 1, "message": "no"}}]
    for body in answers:
        answer = await client.send({"jsonrpc": "2.0", "id": "nothing", **body})
        assert answer.status_code == 202


async def add_spell(site: Served, directory: Path, name: str) -> None:
    write_spell(directory, name, SPELLS["echo"])
    await site.host.reload()


async def test_a_notice_is_told_on_the_stream_that_was_opened_last(
    site: Served, client: RawClient, tmp_path: Path
) -> None:
    async with client.listening() as old, client.listening() as new:
        await add_spell(site, tmp_path, "added")
        first = await new.until(LIST_CHANGED)
        await site.server.close()
        assert LIST_CHANGED not in [event.method for event in await new.rest()]
        assert await old.rest() == []
    assert first.id


async def test_the_stream_of_before_is_used_again_when_the_last_one_is_gone(
    site: Served, client: RawClient, tmp_path: Path
) -> None:
    async with client.listening() as old:
        async with client.listening():
            pass
        hearing = asyncio.ensure_future(old.until(LIST_CHANGED))
        number = 0
        async with asyncio.timeout(SECONDS):
            while not hearing.done():  # the server does not know at once that the other is gone
                number += 1
                await add_spell(site, tmp_path, f"added{number}")
        assert (await hearing).id


async def test_a_notice_waits_for_the_next_stream_and_is_told_again_to_who_asks(
    site: Served, client: RawClient, tmp_path: Path
) -> None:
    await add_spell(site, tmp_path, "added")
    async with client.listening() as stream:
        first = await stream.until(LIST_CHANGED)
    await add_spell(site, tmp_path, "added2")
    async with client.listening(first.id) as again:
        second = await again.until(LIST_CHANGED)
    assert second.id != first.id
    async with client.listening(first.id) as again:
        assert (await again.until(LIST_CHANGED)).id == second.id


async def test_a_get_needs_a_client_that_takes_a_stream(client: RawClient) -> None:
    headers = {**client.in_session, "accept": "application/json"}
    assert (await client.http.get("/mcp", headers=headers)).status_code == 406


async def test_a_client_that_takes_only_json_waits_for_its_answer(client: RawClient) -> None:
    headers = {**client.in_session, "accept": "application/json"}
    message = client.call("held", progressToken=1)
    waiting = asyncio.ensure_future(client.http.post("/mcp", json=message, headers=headers))
    async with client.streaming(client.call("held", progressToken=1)) as stream:
        await stream.until(PROGRESS)
        await let_go(client)
        await stream.rest()
    answer = await waiting
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["result"]["content"][0]["text"] == "let go"


async def test_another_method_is_answered_in_the_session_too(client: RawClient) -> None:
    listed = await client.send(client.request("tools/list"))
    assert "echo" in [tool["name"] for tool in listed.json()["result"]["tools"]]
    unknown = await client.send(client.request("nope/nope"))
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (200, -32601)
    wrong = await client.send(client.request("tools/call", {"name": 7}))
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (200, -32602)


async def test_a_closing_server_answers_nothing_new(site: Served, client: RawClient) -> None:
    async with client.streaming(client.call("held", progressToken=1)) as stream:
        await stream.until(PROGRESS)
        closing = asyncio.ensure_future(site.server.close())
        async with asyncio.timeout(SECONDS):
            while (refused := await client.send(client.request("ping"))).status_code != 503:
                pass
        assert refused.json()["error"]["code"] == "owner.stopping"
        await stream.rest()
        await closing
