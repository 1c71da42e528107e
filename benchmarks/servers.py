"""Servers to measure: processes of their own on free loopback ports."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from measure import cpu_seconds

TOKEN = "bench-token"
ECHO = """\
-- Say a text back.
return Spell.create {
  name = "echo", input = { text = Schema.string "What to say" }, read_only = true,
  run = function(input) return input.text end,
}
"""


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServerProcess:
    """A server that has started. `cpu` counts all its processes."""

    def __init__(self, command: list[str], port: int) -> None:
        self.port = port
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def await_start(self) -> None:
        """Return once the port answers."""
        end = time.monotonic() + 60
        while time.monotonic() < end and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise SystemExit(f"the server on port {self.port} does not start")

    def cpu(self) -> float:
        """Return CPU seconds used so far by the server, its workers included."""
        time.sleep(0.05)  # workers of the last calls end and are counted
        return cpu_seconds(self._process.pid)

    def stop(self) -> None:
        """End it and wait."""
        self._process.terminate()
        self._process.wait()


@contextmanager
def serving(*commands: tuple[list[str], int]) -> Generator[list[ServerProcess]]:
    """Start a server for each command and port; end them with the block."""
    servers = [ServerProcess(command, port) for command, port in commands]
    try:
        for server in servers:
            server.await_start()
        yield servers
    finally:
        for server in servers:
            server.stop()


def llmspell_command(
    directory: Path, port: int, spells: Mapping[str, str] | None = None
) -> tuple[list[str], int]:
    """Make a project in `directory`, with an echo spell or these; return how it is served."""
    (directory / "spells").mkdir()
    (directory / "llmspell.toml").write_text("", encoding="utf-8")
    for name, source in (spells or {"echo": ECHO}).items():
        (directory / "spells" / f"{name}.lua").write_text(source, encoding="utf-8")
    (directory / ".llmspell").mkdir(mode=0o700)
    token = directory / ".llmspell" / "token"
    token.write_text(TOKEN, encoding="utf-8")
    token.chmod(0o600)
    command = [sys.executable, "-m", "llmspell", "--project", str(directory), "serve"]
    return [*command, "--port", str(port)], port
