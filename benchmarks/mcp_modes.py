"""MCP `tools/call` in every mode: a jailed Lua spell of llmspell, the bare SDK, FastMCP.

    python benchmarks/mcp_modes.py [--calls 400] [--rounds 5] [MODE...]

Each server is a process of its own, and so is the client, which costs nothing
here. What is counted is the CPU time of the server and all its processes: for
llmspell a fresh Lua state in a worker process for every call is part of it, and
over stdio the bridge; the others call a Python function. Last comes what a call
costs with 1 and with 1,000 tools published.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import mcp_load
import mcp_subjects
from mcp_load import Load, LoadProcess
from measure import Figures, cpu_seconds, in_turn
from servers import ECHO, TOKEN, ServerProcess, free_port, llmspell_command, serving

CONNECTIONS = 8
TOOLS = 1000
RATE_GOAL = 2.0
"""Calls a second, as a multiple of FastMCP's."""
TOOLS_GOAL = 1.1
"""CPU time of a call with `TOOLS` tools, as a multiple of that with one."""


@dataclass(frozen=True, kw_only=True)
class Mode:
    """One way to call a tool.

    Args:
        transport: How the servers of the others are told to answer.
        goal: What llmspell may need of the CPU time of the bare SDK.
    """

    name: str
    era: Literal["modern", "legacy"]
    transport: Literal["json", "sse", "stdio"]
    tool: str = "echo"
    goal: float = 1.5


MODES = (
    Mode(name="modern-json", era="modern", transport="json", goal=2.0),
    Mode(name="modern-sse", era="modern", transport="sse"),
    Mode(name="modern-progress", era="modern", transport="sse", tool="tell"),
    Mode(name="legacy-json", era="legacy", transport="json"),
    Mode(name="legacy-sse", era="legacy", transport="sse"),
    Mode(name="legacy-progress", era="legacy", transport="sse", tool="tell"),
    Mode(name="stdio-modern", era="modern", transport="stdio"),
    Mode(name="stdio-legacy", era="legacy", transport="stdio"),
)
LIBRARIES = {"sdk": "bare SDK", "fastmcp": "FastMCP"}


@dataclass
class House:
    """The servers that run, by what they are and how they answer."""

    stack: ExitStack
    http: dict[tuple[str, str], ServerProcess] = field(
        default_factory=dict[tuple[str, str], ServerProcess]
    )
    project: Path = Path()

    def subject(
        self, name: str, mode: Mode, connections: int
    ) -> Callable[[int], tuple[float, float]]:
        """Return what makes calls at a server in a mode, and says what they took."""
        server = self.http.get((name, mode.transport)) or self.http.get((name, ""))
        is_stdio = mode.transport == "stdio"
        assert is_stdio or server is not None
        load = Load(
            era=mode.era,
            connections=connections,
            tool=mode.tool,
            progress=mode.tool == "tell",
            port=0 if is_stdio or server is None else server.port,
            token="" if name in ("sdk", "fastmcp") else TOKEN,
            command=tuple(self._stdio(name)) if is_stdio else (),
        )
        process = LoadProcess([sys.executable, __file__, "load"], load)
        self.stack.callback(process.close)

        def cpu() -> float:
            time.sleep(0.05)  # workers of the last calls end and are counted
            own = cpu_seconds(process.pid) if process.pid is not None else 0.0
            return own + (server.cpu() if server is not None else 0.0)

        def run(count: int) -> tuple[float, float]:
            before = cpu()
            wall = process.run(count)
            return cpu() - before, wall

        return run

    def _stdio(self, name: str) -> list[str]:
        if name == "llmspell":
            return [sys.executable, "-m", "llmspell", "--project", str(self.project), "stdio"]
        return [sys.executable, __file__, "serve", name, "stdio"]


def main() -> None:
    """Start the servers, measure every mode, print the tables and what was reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "modes", nargs="*", metavar="MODE", help=", ".join([*(m.name for m in MODES), "many-tools"])
    )
    parser.add_argument("--calls", type=int, default=400, help="calls of one round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    chosen = [mode for mode in MODES if not options.modes or mode.name in options.modes]
    with ExitStack() as stack:
        house = open_house(stack)
        reached = [measure(house, mode, options.calls, options.rounds) for mode in chosen]
        if not options.modes or "many-tools" in options.modes:
            reached.append(many_tools(house, options.calls, options.rounds))
    print(f"\n{sum(reached)} of {len(reached)} modes keep every goal")


def open_house(stack: ExitStack) -> House:
    """Start every server that is spoken to over HTTP."""
    house = House(stack)
    house.project = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    crowded = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    spells = {"echo": ECHO, "tell": mcp_subjects.TELL}
    many = {f"tool_{n}": ECHO.replace('"echo"', f'"tool_{n}"') for n in range(1, TOOLS)}
    commands = {
        ("llmspell", ""): llmspell_command(house.project, free_port(), spells),
        ("crowded", ""): llmspell_command(crowded, free_port(), {"echo": ECHO, **many}),
    }
    for library in LIBRARIES:
        for transport in ("json", "sse"):
            port = free_port()
            command = [sys.executable, __file__, "serve", library, transport, str(port)]
            commands[library, transport] = (command, port)
    servers = stack.enter_context(serving(*commands.values()))
    house.http = dict(zip(commands, servers, strict=True))
    return house


def measure(house: House, mode: Mode, calls: int, rounds: int) -> bool:
    """Measure a mode, print its table, and return whether it keeps its goals."""
    names = {**LIBRARIES, "llmspell": "llmspell, Lua spell in a worker"}
    alone, busy = (
        in_turn(
            [(title, house.subject(name, mode, count)) for name, title in names.items()],
            count=calls,
            rounds=rounds,
        )
        for count in (1, CONNECTIONS)
    )
    print(
        f"\n{mode.name}: one call at a time, then {CONNECTIONS} at once\n"
        f"{'':34} {'CPU us':>7} {'least':>6} {'p50 us':>7} | {'CPU us':>7} {'least':>6} "
        f"{'calls/s':>8} {'CPU / SDK':>9} {'rate / FastMCP':>14}"
    )
    for one, many in zip(alone, busy, strict=True):
        print(
            f"{one.name:34} {statistics.median(one.cpu_us):7.0f} {min(one.cpu_us):6.0f} "
            f"{statistics.median(one.wall_us):7.0f} | {statistics.median(many.cpu_us):7.0f} "
            f"{min(many.cpu_us):6.0f} {1e6 / statistics.median(many.wall_us):8.0f} "
            f"{_ratio(many.cpu_us, busy[0].cpu_us):9.2f} {_rate(many, busy[1]):14.2f}"
        )
    cpu, rate = _ratio(busy[2].cpu_us, busy[0].cpu_us), _rate(busy[2], busy[1])
    return _told("CPU time over the bare SDK's", cpu, mode.goal, at_most=True) & _told(
        "rate over FastMCP's", rate, RATE_GOAL, at_most=False
    )


def many_tools(house: House, calls: int, rounds: int) -> bool:
    """Print what a call costs beside many published tools; return whether that is no more."""
    mode = MODES[0]
    few, many = in_turn(
        [
            ("few tools", house.subject("llmspell", mode, CONNECTIONS)),
            (f"{TOOLS} tools", house.subject("crowded", mode, CONNECTIONS)),
        ],
        count=calls,
        rounds=rounds,
    )
    print(f"\n{mode.name} by the number of tools published\n{'':34} {'CPU us':>7} {'least':>6}")
    for each in (few, many):
        print(f"{each.name:34} {statistics.median(each.cpu_us):7.0f} {min(each.cpu_us):6.0f}")
    ratio = _ratio(many.cpu_us, few.cpu_us)
    return _told(f"CPU time with {TOOLS} tools over that with few", ratio, TOOLS_GOAL, at_most=True)


def _ratio(mine: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(mine, theirs, strict=True))


def _rate(mine: Figures, theirs: Figures) -> float:
    return _ratio(theirs.wall_us, mine.wall_us)


def _told(what: str, ratio: float, goal: float, *, at_most: bool) -> bool:
    is_kept = ratio <= goal if at_most else ratio >= goal
    bound, kept = "at most" if at_most else "at least", "kept" if is_kept else "missed"
    print(f"{what}: {ratio:.2f}; the goal of {bound} {goal:g} is {kept}")
    return is_kept


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["load", text]:
            mcp_load.serve(text)
        case ["serve", library, transport]:
            mcp_subjects.serve(library, transport)
        case ["serve", library, transport, port]:
            mcp_subjects.serve(library, transport, int(port))
        case _:
            main()
