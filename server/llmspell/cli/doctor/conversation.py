"""A server started as a client starts it, and asked what every client begins with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

from llmspell import __version__
from llmspell.values import Object

LIMIT_SECONDS = 30.0
"""What clients give a server to start in ranges from 10 to 60 s."""

ROOM = 64 << 20
"""Longest line that is read."""

_REVISION = "2026-07-28"
_CLIENT = {"name": "llmspell-doctor", "version": __version__}
_ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": _REVISION,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": _CLIENT,
}
ERAS: dict[str, list[Object]] = {
    "up to 2025-11-25": [
        {
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": _CLIENT,
            },
        },
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/list", "params": {}},
    ],
    _REVISION: [
        {"id": 1, "method": "server/discover", "params": {"_meta": _ENVELOPE}},
        {"id": 2, "method": "tools/list", "params": {"_meta": _ENVELOPE}},
    ],
}
"""What a client says first, by the revisions in which it says that."""


async def count_tools(
    command: list[str], environment: Mapping[str, str], directory: Path, messages: list[Object]
) -> int:
    """Start a server, say all messages in turn, and return how many tools it listed.

    Raises:
        OSError: It can't be started.
        TimeoutError: It did not answer in `LIMIT_SECONDS`.
        ValueError: An answer is none, or an error; says what the server has said of it.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        cwd=directory,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=ROOM,
    )
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            return await _converse(process, messages)
    except ValueError as error:
        said = await _end(process)
        raise ValueError(f"{error} {said}".strip()) from None
    finally:
        await _end(process)


async def _converse(process: asyncio.subprocess.Process, messages: list[Object]) -> int:
    assert process.stdin is not None
    assert process.stdout is not None
    result: Object = {}
    for message in messages:
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        if "id" not in message:
            continue
        answer: Object = {}
        while answer.get("id") != message["id"]:
            line = await process.stdout.readline()
            if not line:
                raise ValueError("it ended.")
            answer = json.loads(line)
        if "error" in answer:
            raise ValueError(f"{message['method']}: {answer['error'].get('message')}")
        result = answer["result"]
    return len(result["tools"])


async def _end(process: asyncio.subprocess.Process) -> str:
    """End the server as a client does and return what it has said on stderr."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(5):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
    return (await process.stderr.read()).decode(errors="replace") if process.stderr else ""
