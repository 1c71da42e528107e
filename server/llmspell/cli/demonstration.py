"""The scenes of `llmspell demo`: real processes, real sockets, the official clients.

Each scene does what a person or an agent would do and prints what came back.
Nothing is shown that was not received.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from llmspell.bridge.meeting import Address
from llmspell.cli.clients.entry import bridge_command
from llmspell.config import open_project
from llmspell.errors import InternalError, LlmspellError, OwnerUnreachable
from llmspell.host.remote import RemoteHost

SECONDS = 60.0
"""Longest time a scene may take."""

TEXT = "the quick brown fox\njumps over the lazy dog"


async def show(project: Path) -> None:
    """Play every scene in `project`.

    Raises:
        LlmspellError: A scene did not go as it should.
    """
    try:
        await _play(project)
    except* LlmspellError as group:
        # The SDK's clients run in task groups, which wrap what goes wrong inside them.
        raise _first(group) from None


async def _play(project: Path) -> None:
    say("project", str(project))
    await _stop(project)
    async with asyncio.timeout(SECONDS * 3):
        async with _serving(project) as server:
            say(
                "server",
                f"{server.url}   (MCP at /mcp, A2A at /a2a/ws; ready in {server.took:.1f} s)",
            )
            async with _stdio_client(project) as client:
                number = await _scene_stdio(client)
                await _scene_http(server)
                await _scene_a2a(server)
                await _scene_reload(client, project)
        async with _serving(project) as server:
            say("restart", "the server was stopped and started again")
            await _scene_remembered(server, number)
    _last_words(project)


def _first(group: BaseExceptionGroup[LlmspellError]) -> LlmspellError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def say(scene: str, text: str) -> None:
    """Print one line of the show."""
    print(f"{scene:<9} {text}", flush=True)


# -- scenes


async def _scene_stdio(client: Client) -> int:
    tools = (await client.list_tools()).tools
    say(
        "stdio",
        f"an MCP client ({client.protocol_version}) sees: {', '.join(t.name for t in tools)}",
    )
    counted = await _call(client, "word_count", {"text": TEXT})
    say("", f"word_count -> {_short(counted)}")
    noted = await _call(client, "notes", {"action": "add", "text": "tides are predictable"})
    number = int(noted["notes"][0]["id"])
    say("", f"notes add  -> note {number} is kept")
    refused = await client.call_tool("notes", {"action": "ad"})
    if not refused.is_error:
        raise InternalError("a wrong input was accepted")
    reason = _text(refused).partition(" {code")[0]
    say("", f"wrong input-> {reason}")
    return number


async def _scene_http(server: _Server) -> None:
    async with (
        httpx2.AsyncClient(headers=server.headers) as http,
        Client(streamable_http_client(f"{server.url}/mcp", http_client=http)) as client,
    ):
        greeting = await _call(client, "hello", {"name": "Ada"})
        say("http", f"another MCP client ({client.protocol_version}): hello -> {greeting}")


async def _scene_a2a(server: _Server) -> None:
    from llmspell.endpoints.a2a.remote_call import RemoteEvent, call

    said: dict[str, str] = {}

    def heard(event: RemoteEvent) -> None:
        if event.kind == "status" and event.source:
            said[event.source] = said.get(event.source, "") + event.text

    outcome = await call(
        server.url, "tidal power", skill="research_brief", token=server.token, on_event=heard
    )
    say("a2a", f"a remote agent asks for research_brief ({outcome.binding}) and hears:")
    for source, text in said.items():
        say("", f"  {source:<7} | {' '.join(text.split())[:80]}...")
    say("", f"  the task is {outcome.state}; its brief begins: {outcome.text.splitlines()[0]!r}")


async def _scene_reload(client: Client, project: Path) -> None:
    before = await _call(client, "hello", {"name": "Ada"})
    spell = project / "spells" / "hello.lua"
    source = spell.read_text(encoding="utf-8")
    spell.write_text(source.replace('"Hello, "', '"Good morning, "'), encoding="utf-8")
    after = before
    async with asyncio.timeout(SECONDS):
        while after == before:
            after = await _call(client, "hello", {"name": "Ada"})
    say(
        "reload",
        "spells/hello.lua was edited; the client that was connected all the time calls it:",
    )
    say("", f"  {before}  ->  {after}")


async def _scene_remembered(server: _Server, number: int) -> None:
    from llmspell.endpoints.a2a.remote_call import call

    outcome = await call(server.url, {"action": "list"}, skill="notes", token=server.token)
    if outcome.state != "completed":
        raise InternalError(f"the notes could not be read: {outcome.text}")
    notes: list[dict[str, Any]] = outcome.output["notes"]
    note = next(each for each in notes if each["id"] == number)
    say("", f"a note written through MCP is read through A2A: {note['id']}. {note['text']!r}")


def _last_words(project: Path) -> None:
    address = Address(project, project / ".llmspell")
    entry = ["claude", "mcp", "add", "--transport", "stdio", "llmspell", "--"]
    shown = os.path.relpath(project)
    prefix = f"llmspell --project {shlex.quote(str(project) if shown.startswith('..') else shown)}"
    print(f"\nThe project is yours: {project}")
    print(f"  {prefix} serve")
    print(f"  {prefix} install claude-desktop   (or claude-code, vscode, cursor, gemini)")
    print(f"  {shlex.join([*entry, *bridge_command(address)])}")


# -- what the scenes use


class _Server:
    """A server this show has started."""

    def __init__(self, described: dict[str, Any], took: float) -> None:
        self.url: str = described["url"]
        self.token = Path(described["token_file"]).read_text(encoding="utf-8").strip()
        self.took = took

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@asynccontextmanager
async def _serving(project: Path) -> AsyncGenerator[_Server]:
    """Run `llmspell serve` on a free port until the block ends."""
    log = (project / ".llmspell" / "demo.log").resolve()
    log.parent.mkdir(mode=0o700, exist_ok=True)
    began = time.monotonic()
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "llmspell", "--project", str(project), "serve", "--port", "0"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        described = await _described(project, process, log)
        yield _Server(described, time.monotonic() - began)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _described(
    project: Path, process: asyncio.subprocess.Process, log: Path
) -> dict[str, Any]:
    """Wait until the server serves HTTP, and return its addresses."""
    async with asyncio.timeout(SECONDS):
        while process.returncode is None:
            host = await RemoteHost.find(project / ".llmspell")
            if host is not None:
                async with host:
                    described = await host.call("http.info")
                if described is not None:
                    return described
            await asyncio.sleep(0.05)
    raise OwnerUnreachable("the server did not start", hint=f"see {log}")


@asynccontextmanager
async def _stdio_client(project: Path) -> AsyncGenerator[Client]:
    command, *arguments = bridge_command(Address(project, project / ".llmspell"))
    server = StdioServerParameters(command=command, args=arguments, env=dict(os.environ))
    async with Client(stdio_client(server)) as client:
        yield client


async def _stop(project: Path) -> None:
    """End the owner an earlier show may have left."""
    host = await RemoteHost.find(open_project(project).state)
    if host is not None:
        async with host:
            await host.call("stop")
            await host.wait_closed()


async def _call(client: Client, name: str, arguments: dict[str, Any]) -> Any:
    result = await client.call_tool(name, arguments)
    if result.is_error:
        raise InternalError(f"{name} failed: {_text(result)}")
    if result.structured_content is not None:
        return result.structured_content
    return _text(result)


def _text(result: CallToolResult) -> str:
    return "\n".join(part.text for part in result.content if part.type == "text")


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
