"""The doors of one server, each through its official client, and one form for what they answer."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import uuid
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
import httpx2
from a2a.client.client import Client as A2AClient
from a2a.client.client import ClientConfig
from a2a.client.client_factory import ClientFactory
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import A2AError
from google.protobuf.json_format import MessageToDict, ParseDict
from mcp.client.client import Client as McpClient
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, TextContent

from llmspell.bridge.meeting import Address
from llmspell.endpoints.a2a.client import register
from llmspell.errors import LlmspellError
from llmspell.host.remote import RemoteHost
from llmspell.runs.record import Outcome
from llmspell_protocols.a2a.connection import BINDING
from tests.support import warm
from tests.support.servers import LLMSPELL, Server, environment

SECONDS = 20.0
"""Bound of every wait."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a cast, in one form for all doors."""

    ok: bool
    output: Any = None
    code: str = ""
    """Code of the error."""
    text: str = ""
    """Everything a person is told of the error: where, message, hint."""
    run_id: str | None = None


class Door(Protocol):
    """One way to a server."""

    name: str

    async def cast(self, spell: str, input: dict[str, Any]) -> Result:
        """Cast a spell and return what came of it."""
        ...

    async def names(self) -> list[str]:
        """Return the names that are listed here, in their order."""
        ...


def _of_error(error: LlmspellError) -> Result:
    return Result(ok=False, code=error.code, text=error.report(), run_id=error.run_id)


def _of_outcome(outcome: Outcome) -> Result:
    if outcome.error is not None:
        return _of_error(LlmspellError.from_value(outcome.error))
    return Result(ok=outcome.ok, output=outcome.output, run_id=outcome.run_id)


class HostDoor:
    """`Host.connect`: the Python interface, over the control socket."""

    name = "host"

    def __init__(self, host: RemoteHost) -> None:
        self.host = host

    async def cast(self, spell: str, input: dict[str, Any]) -> Result:
        try:
            return _of_outcome(await self.host.cast(spell, input))
        except LlmspellError as error:
            return _of_error(error)

    async def names(self) -> list[str]:
        return [spell.name for spell in self.host.catalogue().spells]


class CliDoor:
    """`llmspell run` and `llmspell spells`, a process each."""

    name = "cli"

    def __init__(self, project: Path) -> None:
        self._project = project

    async def cast(self, spell: str, input: dict[str, Any]) -> Result:
        # From stdin: a command line holds less than an input may.
        arguments = ("run", spell, "--json", "--input", "-")
        status, output, errors = await self._run(*arguments, text=json.dumps(input))
        if status == 0:
            outcome = json.loads(output)
            return Result(ok=True, output=outcome.get("output"), run_id=outcome["run_id"])
        assert status == 1, errors
        code = re.search(r"\{code: ([a-z_.]+)\}", errors)
        run = re.search(r"^ +run: (\w+)$", errors, re.MULTILINE)
        return Result(
            ok=False,
            code=code[1] if code else "",
            text=errors,
            run_id=run[1] if run else None,
        )

    async def names(self) -> list[str]:
        status, output, errors = await self._run("spells", "--json")
        assert status == 0, errors
        return [spell["name"] for spell in json.loads(output)["spells"]]

    async def _run(self, *arguments: str, text: str = "") -> tuple[int, str, str]:
        done = await asyncio.to_thread(
            warm.run,
            arguments,
            cwd=self._project,
            env=environment(),
            input=text,
            timeout=SECONDS,
        )
        return done.returncode, done.stdout, done.stderr


class McpDoor:
    """MCP, with the official client."""

    def __init__(self, name: str, client: McpClient) -> None:
        self.name = name
        self.client = client

    async def cast(self, spell: str, input: dict[str, Any]) -> Result:
        async with asyncio.timeout(SECONDS):
            try:
                found = await self.client.call_tool(spell, input)
            except MCPError as error:
                data: dict[str, Any] = error.error.data or {}
                return Result(ok=False, code=data.get("code", ""), text=error.error.message)
            except httpx2.HTTPStatusError as error:
                return Result(ok=False, text=f"HTTP {error.response.status_code}")
        return self._result(found)

    def _result(self, found: CallToolResult) -> Result:
        texts = [block.text for block in found.content if isinstance(block, TextContent)]
        meta = found.meta or {}
        run_id = meta.get("llmspell/run_id")
        if found.is_error:
            code = meta["llmspell/error"]["code"]
            return Result(ok=False, code=code, text="\n".join(texts), run_id=run_id)
        output: Any = found.structured_content
        if output is None and texts:
            (output,) = texts
        return Result(ok=True, output=output, run_id=run_id)

    async def names(self) -> list[str]:
        return [tool.name for tool in (await self.client.list_tools()).tools]


class A2ADoor:
    """A2A, with the official client."""

    def __init__(self, name: str, client: A2AClient) -> None:
        self.name = name
        self.client = client

    async def cast(self, spell: str, input: dict[str, Any]) -> Result:
        message = {
            "messageId": str(uuid.uuid4()),
            "role": "ROLE_USER",
            "parts": [{"data": input}],
            "metadata": {"llmspell/skill": spell},
        }
        request = ParseDict({"message": message}, pb.SendMessageRequest())
        async with asyncio.timeout(SECONDS):
            try:
                items = [MessageToDict(item) async for item in self.client.send_message(request)]
            except A2AError as error:
                return self._refused(error)
        return self._result(items[-1]["task"])

    def _refused(self, error: A2AError) -> Result:
        data: dict[str, Any] = getattr(error, "data", None) or {}
        return Result(ok=False, code=str(data.get("code", "")), text=str(error))

    def _result(self, task: dict[str, Any]) -> Result:
        status = task["status"]
        if status["state"] != "TASK_STATE_COMPLETED":
            said = status["message"]
            error = LlmspellError.from_value(said["metadata"]["llmspell/error"])
            return Result(
                ok=False, code=error.code, text=said["parts"][0]["text"], run_id=error.run_id
            )
        (part,) = task["artifacts"][-1]["parts"]
        output = _whole(part["data"]) if "data" in part else part["text"]
        return Result(ok=True, output=output, run_id=task["id"])

    async def task(self, run_id: str) -> dict[str, Any]:
        """Return a run as a task."""
        return MessageToDict(await self.client.get_task(pb.GetTaskRequest(id=run_id)))

    async def names(self) -> list[str]:
        card = await self.client.get_extended_agent_card(pb.GetExtendedAgentCardRequest())
        return [skill.id for skill in card.skills]


def _whole(value: Any) -> Any:
    """Undo what protobuf, which the official client is made of, does to whole numbers."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]  # JSON
    if isinstance(value, list):
        return [_whole(item) for item in value]  # pyright: ignore[reportUnknownVariableType]  # JSON
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True)
class House:
    """A server and every door to it."""

    project: Path
    doors: dict[str, Door]

    @property
    def host(self) -> RemoteHost:
        """The owner itself, to look at what the doors made."""
        door = self.doors["host"]
        assert isinstance(door, HostDoor)
        return door.host

    def write(self, name: str, source: str) -> None:
        """Write a spell of the project; the server sees it by itself."""
        path = self.project / "spells" / f"{name}.lua"
        # Whole at once: a file that is half written would be half read.
        draft = path.with_suffix(".tmp")
        draft.write_text(source, encoding="utf-8")
        draft.replace(path)


@asynccontextmanager
async def open_doors(server: Server) -> AsyncGenerator[House]:
    """Open every door of a running server."""
    headers = {"authorization": f"Bearer {server.token}", "a2a-version": "1.0"}
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        address = Address(server.project, server.project / ".llmspell")
        host = await enter(await RemoteHost.attach(address))
        quiet = await asyncio.to_thread(open, os.devnull, "w", encoding="utf-8")
        stack.callback(quiet.close)
        stdio = stdio_client(
            StdioServerParameters(
                command=sys.executable,
                args=[*LLMSPELL[1:], "stdio"],
                cwd=server.project,
                env=environment(),
            ),
            errlog=quiet,
        )
        http2 = await enter(httpx2.AsyncClient(headers=headers, timeout=None))
        http = await enter(httpx.AsyncClient(headers=headers, timeout=SECONDS))
        doors: list[Door] = [
            HostDoor(host),
            CliDoor(server.project),
            McpDoor("mcp-stdio", await enter(McpClient(stdio))),
            McpDoor(
                "mcp-http",
                await enter(
                    McpClient(streamable_http_client(f"{server.url}/mcp", http_client=http2))
                ),
            ),
        ]
        for name, binding in (("a2a-http", "JSONRPC"), ("a2a-ws", BINDING)):
            config = ClientConfig(
                streaming=False, httpx_client=http, supported_protocol_bindings=[binding]
            )
            factory = register(ClientFactory(config), headers=headers)
            doors.append(A2ADoor(name, await enter(await factory.create_from_url(server.url))))
        yield House(server.project, {door.name: door for door in doors})
