"""The client of `mcp_modes`: a process of its own that sends prepared requests and reads answers.

As cheap as can be: plain sockets or pipes, no parsing beyond the end of an
answer. What it needs is not counted, only what the server needs is.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import msgspec

MODERN, LEGACY = "2026-07-28", "2025-11-25"
_CLIENT = {"name": "bench", "version": "1"}
_FIRST_ID = 1_000_000
"""Ids are of one length, so that every request of a connection is."""
_ID = b"1234567"
_CHUNK = 1 << 16
_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is sent, and where.

    Args:
        port: Of the server on the loopback address; 0 = `command` is started and spoken to.
        connections: Connections, each with one request under way; over pipes, requests under way.
        tool: Tool that is called with `{"text": "hello"}`.
        progress: Whether the requests carry a progress token.
    """

    era: Literal["modern", "legacy"]
    connections: int
    tool: str = "echo"
    progress: bool = False
    port: int = 0
    token: str = ""
    command: tuple[str, ...] = ()


class LoadProcess:
    """A load at work in its own process. `pid` is of the server it started, or None."""

    def __init__(self, entry: list[str], load: Load) -> None:
        self._process = subprocess.Popen(
            [*entry, json.dumps(asdict(load))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid: int | None = json.loads(self._line())

    def run(self, count: int) -> float:
        """Make `count` calls and return the seconds they took."""
        assert self._process.stdin is not None
        print(count, file=self._process.stdin, flush=True)
        return float(self._line())

    def close(self) -> None:
        """End it, and the server it started."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a load generator ended: see above")
        return line


def serve(text: str) -> None:
    """Be such a process: set up, then make as many calls as each line of stdin says."""
    load = msgspec.json.decode(text, type=Load)
    pid, run = _over_http(load) if load.port else _over_pipes(load)
    print(json.dumps(pid), flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        run(int(line))
        print(time.perf_counter() - began, flush=True)


def _call(load: Load) -> bytes:
    params: dict[str, Any] = {"name": load.tool, "arguments": {"text": "hello"}}
    meta: dict[str, Any] = {}
    if load.era == "modern":
        meta |= {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": _CLIENT,
        }
    if load.progress:
        meta["progressToken"] = "t"
    if meta:
        params["_meta"] = meta
    message = {"jsonrpc": "2.0", "id": int(_ID), "method": "tools/call", "params": params}
    return json.dumps(message).encode()


def _initialize() -> bytes:
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": _CLIENT}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    return json.dumps(message).encode()


_INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'


def _checked(answer: bytes) -> None:
    if b"hello" not in answer or b'"error"' in answer:
        raise SystemExit(f"the server answered: {answer[:500]!r}")


# -- HTTP


class _Connection:
    """A connection to an HTTP server, with a session of its own in the legacy era."""

    def __init__(self, load: Load) -> None:
        self.socket = socket.create_connection(("127.0.0.1", load.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(_SECONDS)
        self._received = b""
        self._id = _FIRST_ID
        fields = {
            "Host": f"127.0.0.1:{load.port}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        if load.token:
            fields["Authorization"] = f"Bearer {load.token}"
        if load.era == "modern":
            fields |= {
                "MCP-Protocol-Version": MODERN,
                "Mcp-Method": "tools/call",
                "Mcp-Name": load.tool,
            }
        else:
            head = self._exchange(_post(fields, _initialize())).partition(b"\r\n\r\n")[0]
            fields["MCP-Protocol-Version"] = LEGACY
            if (session := _field(head, b"mcp-session-id")) is not None:
                fields["Mcp-Session-Id"] = session.decode()
            self._exchange(_post(fields, _INITIALIZED))
        self._before, self._after = _post(fields, _call(load)).split(_ID)

    def send(self) -> None:
        """Send the next call."""
        self._id += 1
        self.socket.sendall(self._before + str(self._id).encode() + self._after)

    def receive(self) -> bytes | None:
        """Take what has come, and return the answer if that was all of it."""
        data = self.socket.recv(_CHUNK)
        if not data:
            raise SystemExit(f"the server hung up after {self._received[:500]!r}")
        self._received += data
        if not _is_complete(self._received):
            return None
        answer, self._received = self._received, b""
        return answer

    def _exchange(self, request: bytes) -> bytes:
        self.socket.sendall(request)
        while (answer := self.receive()) is None:
            pass
        return answer


def _post(fields: dict[str, str], body: bytes) -> bytes:
    lines = [f"{name}: {value}" for name, value in fields.items()]
    head = "\r\n".join(["POST /mcp HTTP/1.1", *lines, f"Content-Length: {len(body)}"])
    return head.encode() + b"\r\n\r\n" + body


def _field(head: bytes, name: bytes) -> bytes | None:
    lowered = head.lower()
    at = lowered.find(b"\r\n" + name + b":")
    if at < 0:
        return None
    start = at + len(name) + 3
    stop = head.find(b"\r\n", start)
    return head[start : stop if stop >= 0 else len(head)].strip()


def _is_complete(data: bytes) -> bool:
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = _field(data[:end], b"content-length")
    if length is not None:
        return len(data) >= end + 4 + int(length)
    return data.endswith(b"\r\n0\r\n\r\n")


def _over_http(load: Load) -> tuple[None, Callable[[int], None]]:
    selector = selectors.DefaultSelector()
    connections = [_Connection(load) for _ in range(load.connections)]
    for connection in connections:
        selector.register(connection.socket, selectors.EVENT_READ, connection)

    def run(count: int) -> None:
        left, open_calls = count, 0
        for connection in connections[:count]:
            connection.send()
            left, open_calls = left - 1, open_calls + 1
        while open_calls:
            ready = selector.select(_SECONDS)
            if not ready:
                raise SystemExit("the server does not answer")
            for key, _ in ready:
                answer = key.data.receive()
                if answer is None:
                    continue
                _checked(answer)
                if left:
                    key.data.send()
                    left -= 1
                else:
                    open_calls -= 1

    return None, run


# -- pipes


def _over_pipes(load: Load) -> tuple[int, Callable[[int], None]]:
    process = subprocess.Popen(
        load.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin.fileno(), process.stdout
    if load.era == "legacy":
        os.write(stdin, _initialize() + b"\n")
        if b'"result"' not in (answer := stdout.readline()):
            raise SystemExit(f"{load.command} answered: {answer[:500]!r}")
        os.write(stdin, _INITIALIZED + b"\n")
    before, after = (_call(load) + b"\n").split(_ID)
    id = _FIRST_ID

    def send() -> None:
        nonlocal id
        id += 1
        os.write(stdin, before + str(id).encode() + after)

    def run(count: int) -> None:
        first = min(count, load.connections)
        for _ in range(first):
            send()
        for number in range(count):
            _checked(stdout.readline())
            if number < count - first:
                send()

    return process.pid, run
