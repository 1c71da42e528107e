"""What a bridge costs its client: to start it, to pass by it, and to lose the owner behind it.

Start: from the start of the process to the answer to its first request, the
owner alive, against a Python that does nothing. Hop: a request and its answer
through the bridge, against the same on the owner's socket. Stall: from a kill
of the owner to the next one's answer to a tool call.

    python -m benchmarks.bridge [--starts 30] [--hops 3000] [--kills 15]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from llmspell.bridge.meeting import connect
from tests.support.owners import BridgeClient, OwnedProject, owned_project

PING = b'{"jsonrpc":"2.0","id":%d,"method":"ping"}\n'


def main() -> None:
    """Run all three and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=30)
    parser.add_argument("--hops", type=int, default=3000)
    parser.add_argument("--kills", type=int, default=15)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as directory,
        owned_project(Path(directory) / "p") as project,
        project.bridge() as client,
    ):
        client.initialize()
        client.cast("hello", {}, "first")
        starts(project, options.starts)
        hops(project, client, options.hops)
        stalls(project, client, options.kills)


def show(name: str, seconds: list[float], unit: str = "ms") -> float:
    """Print a line of figures and return the median."""
    factor = {"ms": 1e3, "us": 1e6}[unit]
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    median = statistics.median(ordered)
    print(f"{name:44} {median * factor:9.1f} {ordered[0] * factor:9.1f} {p99 * factor:9.1f} {unit}")
    return median


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def starts(project: OwnedProject, count: int) -> None:
    """Print what a client waits for the first answer, beside a bare Python. In turns."""
    print(f"{'':44} {'p50':>9} {'least':>9} {'p99':>9}")
    script = Path(sys.executable).with_name("llmspell")
    command = [str(script)] if script.exists() else [sys.executable, "-m", "llmspell"]

    def bare() -> None:
        subprocess.run([sys.executable, "-c", "pass"], check=True)

    def bridge() -> None:
        process = subprocess.Popen(
            [*command, "--project", str(project.root), "stdio"],
            env=project.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            process.stdin.write(PING % 1)
            process.stdin.flush()
            process.stdout.readline()
            waited.append(time.perf_counter() - began)
        process.wait()

    waited: list[float] = []
    nothing: list[float] = []
    for _ in range(count):
        nothing.append(timed(bare))
        began = time.perf_counter()
        bridge()
    base = show("python -c pass", nothing)
    ratio = show("bridge start to first answer, owner alive", waited) / base
    print(f"{'ratio':44} {ratio:9.2f}")


def hops(project: OwnedProject, client: BridgeClient, count: int) -> None:
    """Print what a request takes through the bridge and straight on the owner's socket."""
    meeting = connect(project.state, "mcp")
    assert meeting is not None
    direct: list[float] = []
    through: list[float] = []
    stdin, stdout = client.process.stdin, client.process.stdout
    assert stdin is not None
    assert stdout is not None
    with meeting.socket as wire:
        for number in range(count):
            direct.append(timed(lambda n=number: ask_socket(wire, n)))
            through.append(timed(lambda n=number: ask_pipe(stdin.fileno(), stdout.fileno(), n)))
    base = show("request straight on the socket", direct, "us")
    hop = show("request through the bridge", through, "us") - base
    print(f"{'hop':44} {hop * 1e6:9.1f} us")


def ask_socket(wire: socket.socket, number: int) -> None:
    """Send a ping and take its answer."""
    wire.sendall(PING % number)
    assert json.loads(wire.recv(65536))["id"] == number


def ask_pipe(stdin: int, stdout: int, number: int) -> None:
    """Send a ping and take its answer."""
    os.write(stdin, PING % number)
    assert json.loads(os.read(stdout, 65536))["id"] == number


def stalls(project: OwnedProject, client: BridgeClient, count: int) -> None:
    """Print how long a client waits when the owner is killed."""
    found: list[float] = []
    for number in range(count):
        time.sleep(0.5)
        pid = project.owner
        assert pid
        os.kill(pid, signal.SIGKILL)
        found.append(timed(lambda n=number: client.cast("hello", {}, f"after {n}")))
    show("kill of the owner to the next one's answer", found)


if __name__ == "__main__":
    main()
