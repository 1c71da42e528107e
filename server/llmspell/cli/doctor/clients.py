"""The bridge as MCP clients start it: with their environments, in both eras of the protocol."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping

from llmspell import __version__
from llmspell.bridge.meeting import Address
from llmspell.cli.doctor.finding import Finding
from llmspell.cli.install import bridge_command
from llmspell.values import Object

LIMIT_SECONDS = 30.0
SLOW_SECONDS = 5.0
"""What clients give a server to start in ranges from 10 to 60 s."""

ROOM = 64 << 20

_KEPT = ("HOME", "LOGNAME", "USER", "SHELL", "TERM", "LANG", "TMPDIR")
_BARE_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

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


async def examine(address: Address, *, with_state: bool) -> list[Finding]:
    """Start the bridge as each client does and ask what each begins with."""
    command = bridge_command(address, with_state=with_state)
    inherited = dict(os.environ)
    bare = {name: inherited[name] for name in _KEPT if name in inherited} | {"PATH": _BARE_PATH}
    findings: list[Finding] = []
    # Desktop applications start servers with next to nothing of a shell's environment.
    environments = {"Claude Desktop": bare, "Claude Code, VS Code, Cursor": inherited}
    for clients, environment in environments.items():
        for era, messages in ERAS.items():
            name = f"MCP {era} ({clients})"
            findings.append(await _try(name, command, environment, messages))
    return findings


async def _try(
    name: str, command: list[str], environment: Mapping[str, str], messages: list[Object]
) -> Finding:
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        cwd="/",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=ROOM,
    )
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            tools = await _converse(process, messages)
    except TimeoutError:
        return Finding(
            name, "problem", f"no answer in {LIMIT_SECONDS:g} s", "see log/owner.log of the state"
        )
    except ValueError as error:
        said = await _end(process)
        return Finding(name, "problem", f"{error} {said}".strip(), "see log/owner.log of the state")
    finally:
        await _end(process)
    seconds = time.monotonic() - began
    text = f"{tools} tools after {seconds:.2f} s"
    if seconds < SLOW_SECONDS:
        return Finding(name, "ok", text)
    return Finding(name, "warning", text, "clients may give up: see what else this machine does")


async def _converse(process: asyncio.subprocess.Process, messages: list[Object]) -> int:
    """Say all messages in turn and return how many tools are listed.

    Raises:
        ValueError: An answer is none, or an error.
    """
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
                raise ValueError("the bridge ended.")
            answer = json.loads(line)
        if "error" in answer:
            raise ValueError(f"{message['method']}: {answer['error'].get('message')}")
        result = answer["result"]
    return len(result["tools"])


async def _end(process: asyncio.subprocess.Process) -> str:
    """End the bridge as a client does and return what it has said on stderr."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(5):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
    return (await process.stderr.read()).decode(errors="replace") if process.stderr else ""
