"""Projects whose owner is a process of its own, and clients at its bridge."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from llmspell.bridge.meeting import Address
from llmspell.host.lock import holder_of, owner_pid
from llmspell.host.remote import RemoteHost
from llmspell.runs.record import RunState
from llmspell.security.principals import local_caller
from tests.support import warm
from tests.support.servers import LLMSPELL, environment, make_project

WAIT_SECONDS = 20.0

NAPPING = """
return Spell.create {
  name = "nap",
  input = { seconds = Schema.number "How long" },
  run = function(input, ctx)
    ctx:progress(1, 2, "asleep")
    sleep(input.seconds)
    return "awake"
  end,
}
"""
"""A spell that is under way for as long as a test wants."""

INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


def wait_until(true: Any, what: str) -> None:
    """Wait until `true()` holds, and fail when it does not in time."""
    end = time.monotonic() + WAIT_SECONDS
    while not true():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.01)


class BridgeClient:
    """A client that starts `llmspell stdio` and speaks JSON-RPC with it, line by line."""

    def __init__(self, process: subprocess.Popen[bytes] | warm.Command) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stdin.close()
        try:
            self.process.wait(WAIT_SECONDS)
        finally:
            self.process.kill()
            self._stdout.close()
            if self.process.stderr is not None:
                self.process.stderr.close()

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._stdin.write(data)
        self._stdin.flush()

    def close_input(self) -> None:
        """Tell the bridge that nothing more comes."""
        self._stdin.close()

    def send(self, method: str, params: Any = None, identifier: Any = None) -> None:
        """Send a request, or a notification without `identifier`."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message["params"] = params
        if identifier is not None:
            message["id"] = identifier
        self.write(json.dumps(message).encode() + b"\n")

    def read(self) -> dict[str, Any]:
        """Return the next message. Fails when a line is not JSON, or none comes in time."""
        end = time.monotonic() + WAIT_SECONDS
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._stdout], [], [], max(0, end - time.monotonic()))
            assert ready, "no line in time"
            data = os.read(self._stdout.fileno(), 1 << 16)
            assert data, f"the bridge ended; left over: {self._buffer!r}"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def answer(self, identifier: Any) -> dict[str, Any]:
        """Return the answer to a request, passing over everything else."""
        while True:
            message = self.read()
            if message.get("id") == identifier and "method" not in message:
                return message

    def answer_to_any(self) -> dict[str, Any]:
        """Return the next answer, passing over everything else."""
        while True:
            message = self.read()
            if "method" not in message:
                return message

    def request(self, method: str, params: Any, identifier: Any) -> dict[str, Any]:
        """Send a request and return its answer."""
        self.send(method, params, identifier)
        return self.answer(identifier)

    def initialize(self) -> None:
        """Make the handshake of the older revisions."""
        assert "result" in self.request("initialize", INITIALIZE, "init")
        self.send("notifications/initialized")

    def cast(self, name: str, arguments: Any, identifier: Any) -> str:
        """Call a tool and return the text of its result."""
        answer = self.request("tools/call", {"name": name, "arguments": arguments}, identifier)
        return answer["result"]["content"][0]["text"]


@dataclass
class OwnedProject:
    """A project on disk, whose owner commands start as they need it."""

    root: Path
    state: Path
    options: Sequence[str] = ()
    environ: Mapping[str, str] = field(default_factory=dict[str, str])
    _killed: bool = False

    @property
    def owner(self) -> int | None:
        """The owner's pid, or None."""
        return owner_pid(self.state)

    @property
    def keeper(self) -> int | None:
        """The pid of the owner's keeper, or None."""
        holder = holder_of(self.state)
        return holder.keeper if holder is not None else None

    @property
    def log(self) -> str:
        """What the owners so far have logged."""
        path = self.state / "log" / "owner.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    @property
    def owners_begun(self) -> int:
        """How many owners have come to life here."""
        return sum(line.endswith("begins") for line in self.log.splitlines())

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a command here."""
        return [*LLMSPELL, *arguments, *self.options]

    def environment(self) -> dict[str, str]:
        """Return the environment commands here get."""
        return {**environment(), **self.environ}

    def run(
        self, *arguments: str, input: str = "", cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and return what it printed."""
        return warm.run(
            [*arguments, *self.options], cwd=cwd or self.root, env=self.environment(), input=input
        )

    def own(self) -> None:
        """Have an owner, for tests to which it is all one how it has come to be."""
        log = self.state / "log"
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        log.mkdir(mode=0o700, exist_ok=True)
        place = ["--project", str(self.root), "--state", str(self.state)]
        begun = self.owners_begun
        warm.own(place, cwd=self.root, env=self.environment(), log=log / "owner.log")
        wait_until(lambda: self.owners_begun > begun, "the owner has begun")

    def start(self, *arguments: str) -> warm.Command:
        """Start a command with pipes at its three ends."""
        return warm.Command([*arguments, *self.options], cwd=self.root, env=self.environment())

    def start_anew(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command as `start` does, from nothing: in an interpreter of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.root,
            env=self.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def bridge(self, *arguments: str) -> BridgeClient:
        """Start a client at a bridge of its own."""
        return BridgeClient(self.start_anew("stdio", *arguments))

    def runs(self, state: RunState) -> int:
        """Return how many of this person's runs the owner has in this state."""

        async def ask() -> int:
            async with await RemoteHost.attach(Address(self.root, self.state)) as host:
                return (await host.runs(caller=local_caller(), state=state)).total

        return asyncio.run(ask())

    def kill_owner(self) -> int:
        """Kill the owner, with no chance to clean up, and return its pid."""
        pid = self.owner
        assert pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.owner != pid, "the lock of a killed owner is free")
        self._killed = True
        return pid

    def stop(self) -> None:
        """Stop the owner, as a person would; none comes in its place."""
        done = self.run("stop")
        assert done.returncode == 0, done.stderr
        self._killed = False

    def end(self) -> None:
        """End whatever owner is left."""
        if self._killed:
            # Its keeper may be about to put the next one in its place.
            wait_until(lambda: self.owner, "another owner has come in place of a killed one")
        pid = self.owner
        if not pid:
            return
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + WAIT_SECONDS
        while self.owner == pid:
            if time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
                raise AssertionError(f"owner {pid} did not end; its log:\n{self.log}")
            time.sleep(0.01)


@contextmanager
def owned_project(
    directory: Path,
    spells: Sequence[str] = ("hello",),
    *,
    state: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Generator[OwnedProject]:
    """Make a project with these bundled spells and `nap`; end its owner afterwards."""
    root = make_project(directory, spells)
    (root / "spells" / "nap.lua").write_text(NAPPING, encoding="utf-8")
    project = OwnedProject(
        root.resolve(),
        state or root.resolve() / ".llmspell",
        ("--state", str(state)) if state else (),
        environ or {},
    )
    try:
        yield project
    finally:
        project.end()
