"""MCP over a pipe: both eras, and a wire that survives whatever is written to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmspell import __version__
from llmspell.bridge.hello import MAX_MESSAGE
from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.security.principals import local_caller
from tests.support.mcp import (
    CONTROL_TOOLS,
    ENVELOPE,
    MODERN,
    SPELLS,
    Pipe,
    ended_run,
    open_host,
    pipe_to,
    raw_pipe,
    write_spell,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAPS = """
return Spell.create {
  input = {},
  run = function(_, ctx)
    ctx:progress(1, 2, "asleep")
    State.set("begun", true)
    sleep(1.5)
    return "awake"
  end,
}
"""
"""Outlives what is left of a pipe that broke, and is recorded."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def endpoint(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[McpEndpoint]:
    """What most tests share: opening a host takes longer than they do."""
    async with open_host(tmp_path_factory.mktemp("project")) as host:
        endpoint = McpEndpoint(host)
        yield endpoint
        await endpoint.close()


@pytest_asyncio.fixture(loop_scope="module")
async def pipe(endpoint: McpEndpoint) -> AsyncGenerator[Pipe]:
    async with pipe_to(endpoint) as pipe:
        yield pipe


def modern(**params: Any) -> dict[str, Any]:
    return {**params, "_meta": {**ENVELOPE, **params.get("_meta", {})}}


async def test_the_handshake_era_is_served(pipe: Pipe) -> None:
    begun = (await pipe.initialize())["result"]
    assert begun["serverInfo"] == {"name": "llmspell", "version": __version__}
    assert begun["capabilities"]["tools"] == {"listChanged": True}
    assert "- echo: Say a text back." in begun["instructions"]
    listed = (await pipe.request("tools/list"))["result"]
    assert [tool["name"] for tool in listed["tools"]] == sorted([*SPELLS, *CONTROL_TOOLS])
    called = await pipe.request("tools/call", {"name": "echo", "arguments": {"text": "hi"}})
    assert called["result"]["content"] == [{"type": "text", "text": "hi"}]
    assert (await pipe.request("ping"))["result"] == {}


async def test_the_modern_era_is_served_without_a_handshake(pipe: Pipe) -> None:
    found = (await pipe.request("server/discover", modern()))["result"]
    assert found["supportedVersions"] == [MODERN]
    listed = (await pipe.request("tools/list", modern()))["result"]
    assert [tool["name"] for tool in listed["tools"]] == sorted([*SPELLS, *CONTROL_TOOLS])
    assert listed["ttlMs"] == 1000
    called = await pipe.request("tools/call", modern(name="count", arguments={"text": "one two"}))
    assert called["result"]["structuredContent"] == {"words": 2}
    assert called["result"]["resultType"] == "complete"


async def test_a_client_that_probes_and_then_shakes_hands_is_served(pipe: Pipe) -> None:
    """As Claude Code does on one pipe: `server/discover`, then `initialize`."""
    found = await pipe.request("server/discover", modern())
    assert MODERN in found["result"]["supportedVersions"]
    assert (await pipe.initialize())["result"]["protocolVersion"] == "2025-11-25"
    assert len((await pipe.request("tools/list"))["result"]["tools"]) == len(
        [*SPELLS, *CONTROL_TOOLS]
    )


async def test_a_probe_without_its_envelope_does_not_end_the_client(pipe: Pipe) -> None:
    assert (await pipe.request("server/discover"))["error"]["code"] == -32601
    assert "result" in await pipe.initialize()


async def test_a_half_built_envelope_is_told_what_is_missing(pipe: Pipe) -> None:
    half = {"_meta": {"io.modelcontextprotocol/protocolVersion": MODERN}}
    assert (await pipe.request("tools/list", half))["error"]["code"] == -32602


async def test_a_line_that_is_not_json_is_answered_and_the_pipe_lives_on(pipe: Pipe) -> None:
    for line in (b"{nope\n", b"\xff\xfe\n", b"[" * 10_000 + b"\n"):
        await pipe.write(line)
        answer = await pipe.receive()
        assert answer["id"] is None
        assert answer["error"] == {
            "code": -32700,
            "message": "Parse error: the line is not JSON",
        }
    assert "result" in await pipe.initialize()


async def test_json_that_is_no_message_is_answered_and_the_pipe_lives_on(pipe: Pipe) -> None:
    for line in (b"[]\n", b"7\n", b'{"jsonrpc":"1.0","id":1,"method":"ping"}\n', b"{}\n"):
        await pipe.write(line)
        assert (await pipe.receive())["error"]["code"] == -32600
    await pipe.write(b"\n  \n")
    assert "result" in await pipe.initialize()


DEEP = b"[" * 5000 + b"]" * 5000


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"jsonrpc":"2.0","id":"a","method":"ping","params":[1]}', -32600),
        (b'{"id":"a","method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":"a","method":"ping","params":{"cut":"\\ud83d"}}', -32700),
        (b'{"jsonrpc":"2.0","id":"a","method":"ping","params":{"x":%b}}' % DEEP, -32700),
        (b'{"jsonrpc":"2.0","method":"ping","params":{"x":%b},"id":"a"}' % DEEP, -32700),
        (b'{"jsonrpc":"2.0","id":"a","method":"ping","params":{"x":NaN}}', -32700),
        (b'{"jsonrpc":"2.0","id":"a","method":"ping","params":{"x":-Infinity}}', -32700),
        (b'\xef\xbb\xbf{"jsonrpc":"2.0","id":"a","method":"ping"}', -32700),
    ],
)
async def test_a_request_that_is_no_good_is_answered_under_its_own_id(
    pipe: Pipe, line: bytes, code: int
) -> None:
    await pipe.write(line + b"\n")
    answer = await pipe.receive()
    assert (answer["id"], answer["error"]["code"]) == ("a", code)
    assert "result" in await pipe.initialize()


async def test_a_text_that_looks_like_a_number_is_a_text(pipe: Pipe) -> None:
    await pipe.initialize()
    said = {"name": "echo", "arguments": {"text": "NaN, Infinity"}}
    result = (await pipe.request("tools/call", said))["result"]
    assert result["content"] == [{"type": "text", "text": "NaN, Infinity"}]


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"2.0","id":true,"method":"ping"}',
        rb'{"jsonrpc":"2.0","id":"\ud800","method":"ping"}',
    ],
)
async def test_what_is_no_request_is_answered_under_no_id(pipe: Pipe, line: bytes) -> None:
    await pipe.write(line + b"\n")
    assert (await pipe.receive())["id"] is None
    assert "result" in await pipe.initialize()


async def test_an_argument_over_the_limit_is_refused_by_name_and_the_pipe_lives_on(
    pipe: Pipe,
) -> None:
    await pipe.initialize()
    huge = {"name": "echo", "arguments": {"text": "x" * MAX_MESSAGE}}
    answer = await pipe.request("tools/call", huge)
    assert answer["error"]["code"] == -32600
    assert answer["error"]["data"]["code"] == "input.too_large"
    assert str(MAX_MESSAGE) in answer["error"]["message"]
    assert "result" in await pipe.request("tools/list")


async def test_an_argument_over_the_hosts_limit_is_a_readable_result(pipe: Pipe) -> None:
    await pipe.initialize()
    large = {"name": "echo", "arguments": {"text": "x" * (5 << 20)}}
    result = (await pipe.request("tools/call", large))["result"]
    assert result["isError"] is True
    assert result["_meta"]["llmspell/error"]["code"] == "input.too_large"


async def test_requests_piped_in_are_answered_though_the_input_ends(pipe: Pipe) -> None:
    await pipe.send("tools/list", modern(), id=1)
    await pipe.send("tools/call", modern(name="count", arguments={"text": "a b"}), id=2)
    pipe.writer.write_eof()
    answers = [await pipe.receive(), await pipe.receive()]
    assert {answer["id"] for answer in answers} == {1, 2}
    assert all("result" in answer for answer in answers)
    with pytest.raises(EOFError):
        await pipe.receive()


@pytest.mark.parametrize("token", [None, 1])
async def test_a_pipe_that_breaks_is_no_cancel(tmp_path: Path, token: int | None) -> None:
    async with raw_pipe(tmp_path, {"naps": NAPS}) as (host, pipe):
        meta = {"progressToken": token} if token else {}
        await pipe.send("tools/call", modern(name="naps", _meta=meta), id=1)
        if token:
            assert (await pipe.receive())["method"] == "notifications/progress"
        # The call has begun when a request after it is answered.
        await pipe.send("tools/list", modern(), id=2)
        assert (await pipe.receive())["id"] == 2
        pipe.writer.write_eof()
        given_up = await pipe.receive()  # by the dispatcher, a second later
        assert (given_up["id"], given_up["error"]["code"]) == (1, -32000)
        with pytest.raises(EOFError):
            await pipe.receive()
        (run,) = (await host.runs(caller=local_caller())).runs
        assert run.state == "working"
        async with asyncio.timeout(10):
            outcome = await (await host.run(run.id, caller=local_caller())).result()
        assert outcome.output == "awake"


async def test_the_cancel_of_one_request_is_none_of_a_later_one_with_its_id(
    tmp_path: Path,
) -> None:
    async with raw_pipe(tmp_path, {"naps": NAPS}) as (host, pipe):
        await pipe.send("tools/list", modern(), id=1)
        await pipe.send("notifications/cancelled", {"requestId": 1})
        await pipe.send("tools/list", modern(), id=2)
        while (await pipe.receive())["id"] != 2:
            pass  # an answer that was faster than its cancel
        await pipe.send("tools/call", modern(name="naps", _meta={"progressToken": 1}), id=1)
        assert (await pipe.receive())["method"] == "notifications/progress"
        pipe.writer.write_eof()
        assert (await pipe.receive())["id"] == 1  # given up
        assert (await ended_run(host)).output == "awake"


async def test_a_bridge_is_answered_when_it_asks_for_a_sign_of_life(tmp_path: Path) -> None:
    async with open_host(tmp_path) as host:
        endpoint = McpEndpoint(host)
        async with pipe_to(endpoint, bridge="b1") as pipe:
            await pipe.write(b"!ping\n")
            async with asyncio.timeout(10):
                assert await pipe.reader.readline() == b"!pong\n"
            await pipe.write(b"!bridge b2\n!unheard of\n")
            assert "result" in await pipe.request("tools/list", modern())
        await endpoint.close()


async def test_a_client_without_a_bridge_is_told_that_private_lines_are_no_json(pipe: Pipe) -> None:
    await pipe.write(b"!ping\n")
    assert (await pipe.receive())["error"]["code"] == -32700


@pytest.mark.parametrize("token", [None, 7])
async def test_a_cancelled_request_ends_its_run_and_is_not_answered(
    tmp_path: Path, token: int | None
) -> None:
    async with raw_pipe(tmp_path) as (host, pipe):
        meta = {"progressToken": token} if token else {}
        await pipe.send("tools/call", modern(name="waits", _meta=meta), id=5)
        if token:
            assert (await pipe.receive())["method"] == "notifications/progress"
        await pipe.request("tools/list", modern())
        await pipe.send("notifications/cancelled", {"requestId": 5})
        # The next thing on the wire answers the next request: nothing came of the cancelled one.
        assert "result" in await pipe.request("tools/list", modern())
        assert (await ended_run(host)).state == "canceled"


async def test_progress_comes_before_the_answer_and_grows(pipe: Pipe) -> None:
    await pipe.send("tools/call", modern(name="steps", _meta={"progressToken": "t"}), id=1)
    received = [await pipe.receive() for _ in range(4)]
    assert [message.get("params") for message in received[:3]] == [
        {"progressToken": "t", "progress": step, "total": 3, "message": f"step {step}"}
        for step in (1, 2, 3)
    ]
    assert received[3]["result"]["content"] == [{"type": "text", "text": "done"}]


async def test_a_failed_spell_is_a_result_that_says_what_where_and_which_run(
    pipe: Pipe,
) -> None:
    result = (await pipe.request("tools/call", modern(name="fails")))["result"]
    assert result["isError"] is True
    assert "structuredContent" not in result
    error = result["_meta"]["llmspell/error"]
    assert error["code"] == "spell.raised"
    assert error["hint"] == "try tomorrow"
    text = result["content"][0]["text"]
    assert "spells/fails.lua" in text
    assert "no luck today" in text
    assert error["run_id"] in text


async def test_an_unknown_tool_is_a_wrong_parameter(pipe: Pipe) -> None:
    error = (await pipe.request("tools/call", modern(name="nope")))["error"]
    assert error["code"] == -32602
    assert "nope" in error["message"]
    assert error["data"]["code"] == "spell.not_found"


async def test_a_cursor_that_was_never_given_out_is_a_wrong_parameter(pipe: Pipe) -> None:
    assert (await pipe.request("tools/list", modern(cursor="2")))["error"]["code"] == -32602


async def test_a_spell_learns_who_calls_and_what_came_beside_the_input(pipe: Pipe) -> None:
    meta = {"llmspell/session": "s1", "vendor/note": [1], "progressToken": 3}
    answer = await pipe.request("tools/call", modern(name="who", _meta=meta))
    assert answer["result"]["structuredContent"] == {
        "user": local_caller().principal,
        "session": "s1",
        "message": {
            "client": {"name": "raw", "version": "1"},
            "meta": {"vendor/note": [1]},
        },
    }


async def test_without_a_named_session_the_principals_own_is_used(pipe: Pipe) -> None:
    answer = await pipe.request("tools/call", modern(name="who"))
    assert answer["result"]["structuredContent"]["session"] == "default"


@pytest.mark.parametrize("session", ["", "x" * 257, 7, {}])
async def test_a_session_that_is_no_name_is_a_wrong_parameter(pipe: Pipe, session: object) -> None:
    params = modern(name="who", _meta={"llmspell/session": session})
    assert (await pipe.request("tools/call", params))["error"]["code"] == -32602


async def test_a_changed_list_is_told_to_every_client_in_the_way_of_its_era(
    tmp_path: Path,
) -> None:
    async with open_host(tmp_path) as host:
        endpoint = McpEndpoint(host)
        async with pipe_to(endpoint) as legacy, pipe_to(endpoint) as recent:
            await legacy.initialize()
            # Answered after the notification before it was taken in.
            await legacy.request("ping")
            wanted = {"notifications": {"toolsListChanged": True}}
            await recent.send("subscriptions/listen", modern(**wanted), id=1)
            acknowledged = await recent.receive()
            assert acknowledged["method"] == "notifications/subscriptions/acknowledged"

            write_spell(tmp_path, "added", SPELLS["echo"])
            await host.reload()
            for pipe in (legacy, recent):
                told = await pipe.receive()
                assert told["method"] == "notifications/tools/list_changed"
            # Its source is a resource; the other asked for no such notice.
            told = await legacy.receive()
            assert told["method"] == "notifications/resources/list_changed"
            listed = (await legacy.request("tools/list"))["result"]["tools"]
            assert "added" in [tool["name"] for tool in listed]
            called = await recent.request(
                "tools/call", modern(name="added", arguments={"text": "new"})
            )
            assert called["result"]["content"][0]["text"] == "new"

            await endpoint.close()
            ended = await recent.receive()
            assert ended["id"] == 1  # a listen stream ends with its result
        await endpoint.close()


async def test_a_client_that_does_not_read_holds_up_no_other(tmp_path: Path) -> None:
    async with open_host(tmp_path) as host:
        endpoint = McpEndpoint(host)
        async with pipe_to(endpoint) as stuck, pipe_to(endpoint) as other:
            await stuck.initialize()
            await other.initialize()
            await other.request("ping")
            # More answers than both socket buffers hold, none of them read.
            text = {"text": "x" * 100_000}
            for number in range(20):
                await stuck.send("tools/call", {"name": "echo", "arguments": text}, id=f"n{number}")
            for name in ("one", "two"):
                write_spell(tmp_path, name, SPELLS["echo"])
                await host.reload()
                for kind in ("tools", "resources"):
                    told = await other.receive()
                    assert told["method"] == f"notifications/{kind}/list_changed"
            assert (await other.request("ping"))["result"] == {}
        await endpoint.close()


async def test_a_change_that_no_client_can_see_is_not_told(tmp_path: Path) -> None:
    async with raw_pipe(tmp_path) as (host, pipe):
        await pipe.initialize()
        await pipe.request("ping")
        write_spell(tmp_path, "echo", SPELLS["echo"].replace("input.text end", "'changed' end"))
        await host.reload()
        called = await pipe.request("tools/call", {"name": "echo", "arguments": {"text": "x"}})
        assert called["result"]["content"][0]["text"] == "changed"
