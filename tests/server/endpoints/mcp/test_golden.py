"""The wire as files: each transcript is replayed over both transports and compared whole.

A change on the wire shows in the diff of `tests/golden/mcp`. After one that is
meant, write the answers anew: `python -m tests.server.endpoints.mcp.test_golden`.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from llmspell import __version__
from llmspell.endpoints.app import serve_http
from llmspell.endpoints.auth.anonymous import AnonymousAuthenticator
from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.host.host import Host
from tests.support.mcp import LEGACY, SECONDS, SPELLS, open_host, pipe_to

GOLDEN = Path(__file__).parents[3] / "golden" / "mcp"
TRANSCRIPTS = sorted(path.stem for path in GOLDEN.glob("*.json"))
PUBLISHED = {name: SPELLS[name] for name in ("count", "echo", "fails", "steps")}

Object = dict[str, Any]
Exchange = Callable[[Object, int], Awaitable[list[Object]]]
"""Sends a message and returns so many that come back."""

_RUN_ID = re.compile(r"\b[0-9a-f]{36}\b")


def normal(messages: list[Object]) -> list[Object]:
    """Return messages with what differs from run to run named instead."""
    text = _RUN_ID.sub("RUN", json.dumps(messages))
    return json.loads(text.replace(f'"version": "{__version__}"', '"version": "VERSION"'))


@asynccontextmanager
async def over_pipe(host: Host) -> AsyncGenerator[Exchange]:
    endpoint = McpEndpoint(host)
    async with pipe_to(endpoint) as pipe:

        async def exchange(message: Object, count: int) -> list[Object]:
            await pipe.write(json.dumps(message).encode() + b"\n")
            return [await pipe.receive() for _ in range(count)]

        yield exchange
    await endpoint.close()


@asynccontextmanager
async def over_http(host: Host) -> AsyncGenerator[Exchange]:
    server = await serve_http(host, port=0, auth=AnonymousAuthenticator())
    headers = {"accept": "application/json, text/event-stream"}
    async with httpx2.AsyncClient(base_url=server.url, headers=headers, timeout=SECONDS) as http:

        async def exchange(message: Object, count: int) -> list[Object]:
            answer = await http.post("/mcp", json=message, headers=routing(message))
            if "mcp-session-id" in answer.headers:
                http.headers["mcp-session-id"] = answer.headers["mcp-session-id"]
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                lines = answer.text.splitlines()
                found = [json.loads(line[5:]) for line in lines if line.startswith("data: {")]
            else:
                found = [answer.json()] if answer.content else []
            assert len(found) == count
            return found

        yield exchange
    await server.close()


def routing(message: Object) -> dict[str, str]:
    """Return the headers that a client of the message's era sends with it."""
    params: Object = message.get("params", {})
    version = params.get("_meta", {}).get("io.modelcontextprotocol/protocolVersion")
    if version is None:
        return {} if message["method"] == "initialize" else {"mcp-protocol-version": LEGACY}
    named = {"mcp-name": params["name"]} if "name" in params else {}
    return {"mcp-protocol-version": version, "mcp-method": message["method"], **named}


WIRES = {"pipe": over_pipe, "http": over_http}


def read(name: str) -> list[Object]:
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("transcript", TRANSCRIPTS)
@pytest.mark.parametrize("wire", WIRES)
async def test_the_wire_is_as_it_was_written_down(
    tmp_path: Path, wire: str, transcript: str
) -> None:
    async with open_host(tmp_path, PUBLISHED) as host, WIRES[wire](host) as exchange:
        for step in read(transcript):
            received = await exchange(step["send"], len(step["receive"]))
            assert normal(received) == step["receive"], step["send"]


def test_both_eras_are_written_down() -> None:
    assert TRANSCRIPTS == ["2025-11-25", "2026-07-28"]


async def write_anew() -> None:
    for name in TRANSCRIPTS:
        steps = read(name)
        with tempfile.TemporaryDirectory() as directory:
            async with open_host(Path(directory), PUBLISHED) as host, over_pipe(host) as exchange:
                for step in steps:
                    step["receive"] = normal(await exchange(step["send"], len(step["receive"])))
        text = json.dumps(steps, indent=2, ensure_ascii=False) + "\n"
        (GOLDEN / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    root = Path(__file__).parents[4]
    sys.path[:0] = [str(root / "server"), str(root / "protocols")]
    asyncio.run(write_anew())
