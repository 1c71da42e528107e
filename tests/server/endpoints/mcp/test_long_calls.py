"""Calls that take long: a handle, more waiting, an error, or a task; never a second cast."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from llmspell.endpoints.mcp.exchange import TASKS, Client
from llmspell.endpoints.mcp.progress import Reporter
from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.host.host import Host
from tests.support.exchange import RecordingExchange
from tests.support.mcp import SECONDS, open_host

GATED = """
return Spell.create {{
  input = {{ n = Schema.integer("N", {{ default = 1 }}) }}, {options}
  run = function(input, ctx)
    State.shared:increment "begun"
    ctx:progress(1, 2, "half way")
    while not State.shared:get "go" do State.shared:watch("go", {{ timeout = "5s" }}) end
    return {{ n = input.n }}
  end,
}}
"""
OUTPUT = 'output = { n = Schema.integer "N" },'
SPELLS = {
    "plain": GATED.format(options='wait = "50ms", ' + OUTPUT),
    "fails": GATED.format(options='wait = "50ms", when_long = "fail",'),
    "patient": GATED.format(options='wait = "1ms", when_long = "wait", ' + OUTPUT),
    "tasked": GATED.format(options='task = "required",'),
    "never": GATED.format(options='task = "never",'),
    "opens": """
return Spell.create { input = {}, run = function() State.shared:set("go", true) end }
""",
    "begun": """
return Spell.create { input = {}, run = function() return State.shared:get "begun" or 0 end }
""",
    "quick": "return Spell.create { input = {}, run = function() return 7 end }",
    "strict": """
return Spell.create { input = {}, run = function(_, ctx) ctx:protocol_error(-31000, "no") end }
""",
}
KNOWS_TASKS = Client(extensions=frozenset({TASKS}))


@asynccontextmanager
async def opened(directory: Path) -> AsyncGenerator[tuple[Host, McpEndpoint]]:
    async with open_host(directory, SPELLS) as host:
        assert not host.catalogue().problems
        endpoint = McpEndpoint(host)
        try:
            async with asyncio.timeout(SECONDS):
                yield host, endpoint
        finally:
            await endpoint.close()


async def call(
    endpoint: McpEndpoint, name: str, exchange: RecordingExchange | None = None, **arguments: Any
) -> dict[str, Any]:
    exchange = exchange or RecordingExchange()
    return await endpoint.call_tool(exchange, {"name": name, "arguments": arguments})


async def test_a_long_call_is_answered_with_a_handle_that_leads_to_its_result(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as (host, endpoint):
        handle = await call(endpoint, "plain", n=3)
        said = handle["structuredContent"]
        assert said["status"] == "working"
        assert said["run_id"] in said["how_to_continue"]
        assert "isError" not in handle
        exchange = RecordingExchange(is_modern=False)  # another client of the same person
        again = await endpoint.calls.result(exchange, said["run_id"], wait=0.01)
        assert again["structuredContent"]["status"] == "working"
        await host.cast("opens", {})
        result = await endpoint.calls.result(exchange, said["run_id"])
        assert result["structuredContent"] == {"n": 3}
        assert (await host.cast("begun", {})).output == 1


async def test_a_spell_may_say_that_its_callers_wait_or_fail_instead(tmp_path: Path) -> None:
    async with opened(tmp_path) as (host, endpoint):
        failed = await call(endpoint, "fails")
        assert failed["isError"]
        assert failed["_meta"]["llmspell/error"]["code"] == "run.too_long"
        run_id = failed["_meta"]["llmspell/run_id"]
        handle = await host.run(run_id, caller=RecordingExchange().caller)
        assert (await handle.record()).state == "canceled"
        patient = asyncio.ensure_future(call(endpoint, "patient"))
        await host.cast("opens", {})
        assert (await patient)["structuredContent"] == {"n": 1}


async def test_a_client_may_say_how_long_it_waits(tmp_path: Path) -> None:
    async with opened(tmp_path) as (host, endpoint):
        exchange = RecordingExchange(meta={"llmspell/wait": 60})
        waiting = asyncio.ensure_future(call(endpoint, "plain", exchange))
        short = await call(endpoint, "plain", RecordingExchange(meta={"llmspell/wait": 0}))
        assert short["structuredContent"]["status"] == "working"
        await host.cast("opens", {})
        assert (await waiting)["structuredContent"] == {"n": 1}
        for wrong in ("soon", True, -1):
            with pytest.raises(MCPError, match="number of seconds"):
                await call(endpoint, "plain", RecordingExchange(meta={"llmspell/wait": wrong}))


async def test_the_same_idempotency_key_leads_to_the_same_run(tmp_path: Path) -> None:
    async with opened(tmp_path) as (host, endpoint):
        await host.cast("opens", {})
        exchange = RecordingExchange(meta={"llmspell/idempotency_key": "k1"})
        first = await call(endpoint, "plain", exchange)
        second = await call(endpoint, "plain", exchange)
        assert first["_meta"]["llmspell/run_id"] == second["_meta"]["llmspell/run_id"]
        assert (await host.cast("begun", {})).output == 1
        conflict = await call(endpoint, "plain", exchange, n=9)
        assert conflict["_meta"]["llmspell/error"]["code"] == "idempotency.conflict"


async def test_a_call_of_a_client_that_knows_tasks_becomes_one_when_it_is_long(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as (host, endpoint):
        exchange = RecordingExchange(client=KNOWS_TASKS)
        assert (await call(endpoint, "quick", exchange))["resultType"] == "complete"
        task = await call(endpoint, "plain", exchange, n=5)
        assert task["resultType"] == "task", task
        assert task["status"] == "working"
        assert isinstance(task["ttlMs"], int)
        assert isinstance(task["pollIntervalMs"], int)
        seen = await endpoint.tasks.of(task["taskId"], exchange.caller)
        assert (seen["status"], seen["statusMessage"]) == ("working", "1 of 2: half way")
        await host.cast("opens", {})
        await (await host.run(task["taskId"], caller=exchange.caller)).result()
        ended = await endpoint.tasks.of(task["taskId"], exchange.caller)
        assert ended["status"] == "completed"
        assert ended["result"]["structuredContent"] == {"n": 5}
        never = await call(endpoint, "never", exchange)
        assert never["structuredContent"] == {"n": 1}


async def test_a_client_of_an_older_version_is_given_no_task_whatever_it_declares(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as (_, endpoint):
        exchange = RecordingExchange(is_modern=False, client=KNOWS_TASKS)
        handle = await call(endpoint, "plain", exchange, n=3)
        assert handle["structuredContent"]["status"] == "working"
        assert "taskId" not in handle


async def test_a_spell_that_requires_a_task_is_one_at_once_and_refuses_other_clients(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as (host, endpoint):
        task = await call(endpoint, "tasked", RecordingExchange(client=KNOWS_TASKS))
        assert task["resultType"] == "task"
        with pytest.raises(MCPError) as refused:
            await call(endpoint, "tasked")
        assert refused.value.code == -32021
        assert (await host.cast("begun", {})).output <= 1


async def test_who_cancels_a_call_stops_its_run_unless_a_handle_is_out(tmp_path: Path) -> None:
    async with opened(tmp_path) as (host, endpoint):
        caller = RecordingExchange().caller
        calling = asyncio.ensure_future(call(endpoint, "patient"))
        while not (await host.cast("begun", {})).output:
            pass
        calling.cancel()
        await asyncio.wait([calling])
        await endpoint.calls.close()
        handle = await call(endpoint, "plain")
        run_id = handle["structuredContent"]["run_id"]
        looking = asyncio.ensure_future(endpoint.calls.result(RecordingExchange(), run_id))
        await asyncio.sleep(0)
        looking.cancel()
        await asyncio.wait([looking])
        states = {run.spell: run.state for run in (await host.runs(caller=caller)).runs}
        assert states["patient"] == "canceled"
        assert states["plain"] == "working"
        stopped = await endpoint.calls.cancel(RecordingExchange(), run_id)
        assert stopped["structuredContent"]["status"] == "canceled"


async def test_an_error_of_the_protocol_is_one_and_fails_a_task(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, endpoint):
        with pytest.raises(MCPError) as failed:
            await call(endpoint, "strict")
        assert (failed.value.code, failed.value.message) == (-31000, "no")


async def test_a_silent_call_that_reports_progress_says_that_it_lives() -> None:
    exchange = RecordingExchange(progress_token=1)
    async with Reporter(exchange, heartbeat=0.01).beating(), asyncio.timeout(SECONDS):
        await exchange.has_sent(3)
    values = [params["progress"] for _, params in exchange.sent]
    assert values == sorted(set(values))
    quiet = RecordingExchange()
    async with Reporter(quiet, heartbeat=0.001).beating():
        await asyncio.sleep(0)
    assert not quiet.sent
