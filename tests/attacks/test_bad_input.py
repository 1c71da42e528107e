"""Bad input, on every wire and in spells: each ends with a clear error, and the server goes on.

The server is a process of its own, and what is sent is bytes: no client stands between.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from llmspell.bridge.meeting import Address, connect_or_spawn
from tests.support.owners import BridgeClient, OwnedProject
from tests.support.servers import Server, make_project, running_server

SECONDS = 20.0
"""Bound of every wait."""

SETTINGS = """
[limits]
slice_seconds = 0.3
load_seconds = 0.3
heap_bytes = 16_777_216
log_events = 1000
"""

SPELLS = {
    # -- files that do not load
    "not_lua": "return Spell.create {\n  run = function(\n}",
    "not_text": "\x1bLua\x54\x00\x19\x93\r\n\x1a\n",
    "nothing": "",
    "unknown_key": "return Spell.create {\n  tols = {},\n  run = function() end,\n}",
    "wrong_type": "return Spell.create { run = function() end,\n  tags = 5 }",
    "loads_for_ever": "while true do end",
    "loads_a_lot": "local t = {} for i = 1, math.huge do t[i] = ('x'):rep(1000) .. i end",
    # -- spells that misbehave
    "endless": "return Spell.create { run = function() while true do end end }",
    "patterns": (
        "return Spell.create { run = function()"
        " return (('a'):rep(30):find(('a?'):rep(30) .. ('a'):rep(30) .. 'b')) end }"
    ),
    "bomb": (
        "return Spell.create { run = function()"
        " local t = {} for i = 1, math.huge do t[i] = ('x'):rep(1000) .. i end end }"
    ),
    "deep": (
        "return Spell.create { run = function()"
        " local t = {} for i = 1, 100000 do t = { t } end return t end }"
    ),
    "cycle": "return Spell.create { run = function() local t = {} t.t = t return t end }",
    "function_out": "return Spell.create { run = function() return { f = print } end }",
    "bytes_out": "return Spell.create { run = function() return '\\xff\\xfe' end }",
    "large_out": "return Spell.create { run = function() return ('x'):rep(5000000) end }",
    "missing_out": (
        "return Spell.create { output = { n = Schema.integer() }, run = function() end }"
    ),
    "wrong_out": (
        "return Spell.create { output = { n = Schema.integer() },"
        " run = function() return { n = 'x' } end }"
    ),
    "stack": "local function f() return 1 + f() end return Spell.create { run = f }",
    "error_of_nothing": "return Spell.create { run = function() error() end }",
    "error_of_cycle": (
        "return Spell.create { run = function() local t = {} t.t = t error(t) end }"
    ),
    "chatty": (
        "return Spell.create { run = function(_, ctx) for i = 1, 1e9 do ctx:emit('x') end end }"
    ),
    "far": (
        "local a = Agent.create { model = 'openai/gpt-5' }"
        " return Spell.create { run = function() return a:ask 'x' end }"
    ),
    "typed": (
        "return Spell.create { input = { text = Schema.string(), n ="
        " Schema.integer { optional = true } }, run = function(i) return i.text end }"
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    project = make_project(tmp_path_factory.mktemp("attacked") / "project", ("hello",))
    (project / "llmspell.toml").write_text(SETTINGS, encoding="utf-8")
    for name, source in SPELLS.items():
        (project / "spells" / f"{name}.lua").write_text(source, encoding="utf-8")
    with running_server(project) as running:
        yield running


# --- the wires


class Wire(Protocol):
    """One way to send bytes to the server."""

    def send(self, message: bytes) -> str:
        """Send one message and return the answer as text; "" when the connection ended."""
        ...

    def call(self, spell: str, input: Any) -> str:
        """Cast a spell and return the answer as text."""
        ...


def line_of(id: int, method: str, params: Any) -> bytes:
    message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
    return json.dumps(message).encode()


MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
}


class StdioWire:
    """MCP at the bridge."""

    def __init__(self, client: BridgeClient) -> None:
        self._client = client

    def send(self, message: bytes) -> str:
        self._client.write(message + b"\n")
        return json.dumps(self._client.read())

    def call(self, spell: str, input: Any) -> str:
        params = {"name": spell, "arguments": input, "_meta": MODERN}
        return self.send(line_of(1, "tools/call", params))


class HttpWire:
    """MCP, or A2A's JSON-RPC, over HTTP."""

    def __init__(self, client: httpx.Client, path: str) -> None:
        self._client = client
        self._path = path

    def send(self, message: bytes) -> str:
        return self._post(message).text

    def _post(self, message: bytes, **headers: str) -> httpx.Response:
        answer = self._client.post(
            self._path,
            content=message,
            headers={
                "content-type": "application/json",
                "accept": "application/json, text/event-stream",
                **headers,
            },
        )
        # Whatever comes in, it is not the server's fault.
        assert answer.status_code < 500, answer.text
        return answer

    def call(self, spell: str, input: Any) -> str:
        if self._path == "/a2a":
            return self.send(line_of(1, "SendMessage", a2a_message(spell, input)))
        params = {"name": spell, "arguments": input, "_meta": MODERN}
        headers = {
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": spell,
        }
        return self._post(line_of(1, "tools/call", params), **headers).text


def a2a_message(spell: str, input: Any) -> dict[str, Any]:
    message = {
        "messageId": "m",
        "role": "ROLE_USER",
        "parts": [{"data": input}],
        "metadata": {"llmspell/skill": spell},
    }
    return {"message": message}


class SocketWire:
    """A2A over a WebSocket, opened anew when the server ended it."""

    def __init__(self, open_socket: Callable[[], ClientConnection]) -> None:
        self._open = open_socket
        self._socket = open_socket()

    def send(self, message: bytes) -> str:
        try:
            frame: str | bytes = message.decode()
        except UnicodeDecodeError:
            frame = message
        try:
            self._socket.send(frame)
            return str(self._socket.recv(SECONDS))
        except ConnectionClosed as closed:
            last = closed.rcvd
        self._socket = self._open()
        assert last is not None, "the server hung up without a word"
        assert last.code in (1003, 1007, 1008, 1009), last
        return f"{last.code} {last.reason}"

    def call(self, spell: str, input: Any) -> str:
        return self.send(line_of(1, "SendMessage", a2a_message(spell, input)))


class ControlWire:
    """The control socket of the owner."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(SECONDS)
        self._connection = connection
        self._lines = connection.makefile("rb")

    def close(self) -> None:
        self._lines.close()
        self._connection.close()

    def send(self, message: bytes) -> str:
        self._connection.sendall(message + b"\n")
        return self._lines.readline().decode()

    def call(self, spell: str, input: Any) -> str:
        return self.send(line_of(1, "cast", {"name": spell, "input": input}))


@contextmanager
def open_wire(name: str, server: Server) -> Generator[Wire]:
    headers = {"authorization": f"Bearer {server.token}", "a2a-version": "1.0"}
    state = server.project / ".llmspell"
    if name == "stdio":
        with OwnedProject(server.project, state).bridge() as client:
            yield StdioWire(client)
    elif name in ("mcp", "a2a"):
        with httpx.Client(base_url=server.url, headers=headers, timeout=SECONDS) as http:
            yield HttpWire(http, f"/{name}")
    elif name == "a2a-ws":
        url = f"ws{server.url.removeprefix('http')}/a2a/ws"
        with ExitStack() as stack:
            yield SocketWire(
                lambda: stack.enter_context(
                    connect(url, subprotocols=[A2A], additional_headers=headers, proxy=None)
                )
            )
    else:
        wire = ControlWire(connect_or_spawn(Address(server.project, state), "control").socket)
        with closing(wire):
            yield wire


A2A: Any = "a2a.v1"
WIRES = ["stdio", "mcp", "a2a", "a2a-ws", "control"]


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest, server: Server) -> Generator[Wire]:
    with open_wire(request.param, server) as opened:
        yield opened
        assert "Hello, still!" in opened.call("hello", {"name": "still"})


# --- what is no message

NO_MESSAGES = {
    "not-json": b"hello?",
    "half-json": b'{"jsonrpc": "2.0", "id": 1, "method": "tools/l',
    "not-utf8": b'{"jsonrpc": "2.0", "id": 1, "method": "\xff\xfe"}',
    "nul": b"\x00\x00\x00",
    "number": b"5",
    "text": b'"text"',
    "null": b"null",
    "true": b"true",
    "empty-object": b"{}",
    "empty-list": b"[]",
    "list": b"[1, 2]",
    "no-method": b'{"jsonrpc": "2.0", "id": 1}',
    "method-of-wrong-type": b'{"jsonrpc": "2.0", "id": 1, "method": 5}',
    "no-version": b'{"id": 1, "method": "x"}',
    "id-of-wrong-type": b'{"jsonrpc": "2.0", "id": {"a": 1}, "method": "x"}',
    "unknown-method": b'{"jsonrpc": "2.0", "id": 1, "method": "no/such/method"}',
    "params-of-wrong-type": b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": 5}',
    "deep": b'{"jsonrpc": "2.0", "id": 1, "method": "x", "params": '
    + b"[" * 100_000
    + b"]" * 100_000
    + b"}",
    "long-number": b'{"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"n": '
    + b"9" * 100_000
    + b"}}",
    "infinity": b'{"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"n": Infinity}}',
    "surrogate": b'{"jsonrpc": "2.0", "id": 1, "method": "\\ud800", "params": {}}',
    "long-method": b'{"jsonrpc": "2.0", "id": 1, "method": "' + b"x" * 1_000_000 + b'"}',
}


@pytest.mark.parametrize("name", NO_MESSAGES)
def test_what_is_no_message_is_answered_with_an_error(wire: Wire, name: str) -> None:
    answer = wire.send(NO_MESSAGES[name])
    assert answer
    # An answer may name what was asked for, and no more than that.
    assert len(answer) < 10_000 + 3 * len(NO_MESSAGES[name])
    assert "Traceback" not in answer
    if answer.startswith("{"):
        assert "error" in json.loads(answer), answer


def test_ten_megabytes_of_noise_are_answered_with_an_error(wire: Wire) -> None:
    answer = wire.send(b"x" * 10_000_000)
    assert 0 < len(answer) < 10_000


# --- what is no input


@pytest.mark.parametrize(
    ("input", "word"),
    [
        ({}, "text"),
        ({"text": 5}, "text"),
        ({"text": ["a"]}, "text"),
        ({"text": "a", "n": "1"}, "n"),
        ({"text": "a", "n": 10**400}, ""),
        ({"text": "a", "m": 1}, "m"),
        ({"text": "\ud800"}, ""),
        ({"text": "x" * 10_000_000}, ""),
        ([], ""),
        ("text", ""),
        (None, ""),
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_input_that_does_not_fit_is_refused(wire: Wire, input: Any, word: str) -> None:
    answer = wire.call("typed", input)
    assert word in answer
    assert len(answer) < 10_000
    assert "TASK_STATE_COMPLETED" not in answer
    assert '"isError":false' not in answer.replace(" ", "")
    assert "Traceback" not in answer


# --- what is no spell

PROBLEMS = {
    "not_lua": ("spec.syntax", "spells/not_lua.lua:3"),
    "not_text": ("spec.syntax", "spells/not_text.lua:1"),
    "nothing": ("spec.missing", "spells/nothing.lua"),
    "unknown_key": ("spec.unknown_key", "spells/unknown_key.lua:2"),
    "wrong_type": ("spec.invalid", "spells/wrong_type.lua:2"),
    "loads_for_ever": ("limit.wall_clock", "spells/loads_for_ever.lua:1"),
    "loads_a_lot": ("limit.memory", "spells/loads_a_lot.lua:1"),
}


def test_files_that_do_not_load_are_named_with_their_line_and_publish_nothing(
    server: Server,
) -> None:
    with open_wire("control", server) as control:
        catalogue = json.loads(control.send(line_of(1, "catalogue", {})))["result"]
    assert {spell["name"] for spell in catalogue["spells"]} == SPELLS.keys() - PROBLEMS.keys() | {
        "hello"
    }
    found = {
        Path(problem["where"].partition(":")[0]).stem: (problem["code"], problem["where"])
        for problem in catalogue["problems"]
    }
    assert found == PROBLEMS


# --- what a spell does to the server


@pytest.mark.parametrize(
    ("spell", "codes"),
    [
        ("not_lua", ["spell.not_found"]),
        ("endless", ["limit.wall_clock"]),
        ("patterns", ["limit.wall_clock"]),
        ("bomb", ["limit.memory"]),
        ("deep", ["output.invalid"]),
        ("cycle", ["output.invalid"]),
        ("function_out", ["output.invalid"]),
        ("bytes_out", ["output.invalid"]),
        ("large_out", ["output.too_large", "limit.memory"]),
        ("missing_out", ["output.invalid"]),
        ("wrong_out", ["output.invalid"]),
        ("stack", ["spell.raised", "limit.memory"]),
        ("error_of_nothing", ["spell.raised"]),
        ("error_of_cycle", ["spell.raised"]),
        ("chatty", ["limit.exceeded"]),
        ("far", ["model.unavailable"]),
    ],
)
@pytest.mark.parametrize("wire", ["stdio", "a2a-ws"], indirect=True)
def test_a_spell_that_misbehaves_fails_alone(wire: Wire, spell: str, codes: list[str]) -> None:
    answer = wire.call(spell, {})
    assert any(f'"{code}"' in answer for code in codes), answer[:2_000]
    assert len(answer) < 20_000
    assert "Traceback" not in answer


def test_endless_spells_on_every_wire_at_once_leave_the_server_at_work(server: Server) -> None:
    """A caller that leaves in the middle of such a cast does no harm either."""
    headers = {"authorization": f"Bearer {server.token}", "a2a-version": "1.0"}
    message = line_of(1, "SendMessage", a2a_message("endless", {}))
    for _ in range(6):
        with (
            httpx.Client(base_url=server.url, headers=headers, timeout=0.05) as http,
            pytest.raises(httpx.TimeoutException),
        ):
            http.post("/a2a", content=message, headers={"content-type": "application/json"})
    with open_wire("a2a", server) as wire:
        assert "Hello, still!" in wire.call("hello", {"name": "still"})
