"""What 1,000 waiting runs cost, how soon all of them go on, and what a step costs that is recalled.

    python benchmarks/resume.py

Half of the runs ask a person, half sleep an hour. The host that began them is
closed; another opens two hours later by its clock, so that the sleepers are due
at once, and the questions are answered. The replay is measured one run at a
time: a run that has recorded 1,000 steps, writes or model calls is answered, and
one that has recorded none; the difference is the cost of the records.
"""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop
from measure import cpu_seconds, descendants

from llmspell import Host
from llmspell.clock import SystemClock
from llmspell.host.host import Host as OpenHost
from llmspell.host.run_interface import RunHandle
from llmspell.security.principals import local_caller

RUNS = 1_000
STEPS = 1_000
ROUNDS = 5
GOAL_SECONDS = 5.0
GOAL_STEP_US = 15.0
GOAL_RUN_MS = 50.0
LATER = 2 * 3600.0

SETTINGS = """\
models.default = "scripted/echo"
[limits]
model_calls = 2000
[runtime]
warm_workers = 0
"""
SPELLS = {
    "asks": 'ctx:ask { message = "Go on?" } return "went on"',
    "sleeps": 'sleep(3600) return "went on"',
    "steps": """\
for number = 1, input.count do ctx:step("step", function() return number end) end
return ctx:ask { message = "Go on?" }.ok""",
    "writes": """\
for number = 1, input.count do State:set(ctx.run_id, number) end
return ctx:ask { message = "Go on?" }.ok""",
    "models": """\
local echo = Agent.create { name = "Echo" }
for _ = 1, input.count do echo:ask "hello" end
return ctx:ask { message = "Go on?" }.ok""",
}
SPELL = """\
-- Wait.
return Spell.create {
  input = { count = Schema.integer("How often", { default = 0 }) },
  run = function(input, ctx)
%s
  end,
}
"""


class ShiftedClock(SystemClock):
    """The machine's time, so many seconds later."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def time(self) -> float:
        """Return the wall time in seconds since 1970, UTC."""
        return super().time() + self._seconds


async def start(host: OpenHost, casts: Sequence[tuple[str, int]]) -> list[str]:
    """Begin runs, some at a time, and return their ids once all of them are parked."""
    gate = asyncio.Semaphore(32)

    async def one(spell: str, count: int) -> RunHandle:
        async with gate:
            handle = await host.start(spell, {"count": count})
            while not await is_waiting(handle):  # noqa: ASYNC110 - it becomes so by and by
                await asyncio.sleep(0.02)
            return handle

    return [handle.id for handle in await asyncio.gather(*(one(*each) for each in casts))]


async def is_waiting(handle: RunHandle) -> bool:
    """Return whether a run is parked; a run that ended is none that waits."""
    run = await handle.record()
    assert not run.is_final, run.error
    return run.parked


async def go_on(host: OpenHost, run_id: str, *, is_asked: bool) -> None:
    """Answer a run where it asks, and wait for its end."""
    handle = await host.run(run_id, caller=local_caller())
    if is_asked:
        await handle.answer({"ok": True})
    outcome = await handle.result()
    assert outcome.ok, outcome


def workers(host: OpenHost) -> int:
    """Return how many processes below this one are beyond those kept ready for any cast."""
    ready = host.project.settings.runtime.idle_workers + 1  # what they are forked from
    return len(descendants(os.getpid())) - ready


def own_memory() -> float:
    """Return the memory of this process alone, in KiB."""
    gc.collect()
    text = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8")
    return float(text.partition("Pss:")[2].split()[0])


async def waiting(project: Path) -> None:
    """Park runs, close their host, and measure the next one until all of them have ended."""
    casts = [("asks", 0), ("sleeps", 0)] * (RUNS // 2)
    async with Host.open(project, watch=False) as host:
        await start(host, casts[:20])  # whatever the first of a kind brings is not counted
        before = own_memory()
        began = time.perf_counter()
        ids = await start(host, casts)
        took = time.perf_counter() - began
        await asyncio.sleep(0.5)  # workers that were let go of end
        print(
            f"{RUNS} runs begun and parked in {took:.1f} s: each holds "
            f"{(own_memory() - before) / RUNS:.1f} KiB in the server; "
            f"processes held by all: {workers(host)}"
        )
    before, cpu, began = own_memory(), cpu_seconds(os.getpid()), time.perf_counter()
    async with Host.open(project, watch=False, clock=ShiftedClock(LATER)) as host:
        opened = time.perf_counter() - began
        await asyncio.gather(
            *(
                go_on(host, run_id, is_asked=spell == "asks")
                for run_id, (spell, _) in zip(ids, casts, strict=True)
            )
        )
        took = time.perf_counter() - began
        cpu = cpu_seconds(os.getpid()) - cpu
    print(
        f"{RUNS} runs woken and ended {took:.2f} s after the host began to open "
        f"({opened:.2f} s of it to open), CPU {cpu:.2f} s; {verdict(took, GOAL_SECONDS, 's')}"
    )


async def replay(project: Path) -> None:
    """Measure runs with records against runs with none, one at a time, in turn."""
    kinds = ("steps", "writes", "models")
    casts = [(kind, count) for kind in kinds for count in (0, STEPS) for _ in range(ROUNDS + 1)]
    async with Host.open(project, watch=False) as host:
        ids = await start(host, casts)
    taken: dict[tuple[str, int], list[tuple[float, float]]] = {}
    async with Host.open(project, watch=False) as host:
        turns = sorted(range(len(casts)), key=lambda index: index % (ROUNDS + 1))
        for index in turns:
            cpu, began = cpu_seconds(os.getpid()), time.perf_counter()
            await go_on(host, ids[index], is_asked=True)
            wall = time.perf_counter() - began
            await asyncio.sleep(0.1)  # its worker ends and is counted
            if index % (ROUNDS + 1):  # the first of each warms up
                figures = taken.setdefault(casts[index], [])
                figures.append((wall, cpu_seconds(os.getpid()) - cpu))
    print(
        f"\nA run with {STEPS} records resumed, in the median of {ROUNDS}\n"
        f"{'':8} {'wall ms':>8} {'with none':>10} {'wall us/step':>13} {'CPU us/step':>12}"
    )
    for kind in kinds:
        wall, none = (median(taken[kind, count], 0) for count in (STEPS, 0))
        cpu = (median(taken[kind, STEPS], 1) - median(taken[kind, 0], 1)) / STEPS
        step = (wall - none) / STEPS
        print(
            f"{kind:8} {wall * 1e3:8.1f} {none * 1e3:10.1f} {step * 1e6:13.1f} {cpu * 1e6:12.1f}  "
            f"{verdict(step * 1e6, GOAL_STEP_US, 'us')}; {verdict(wall * 1e3, GOAL_RUN_MS, 'ms')}"
        )


def median(figures: Sequence[tuple[float, float]], which: int) -> float:
    """Return the median of one of two figures."""
    return statistics.median(each[which] for each in figures)


def verdict(found: float, goal: float, unit: str) -> str:
    """Return what is to be said of a goal."""
    return f"goal of {goal:g} {unit} {'kept' if found <= goal else 'missed'}"


async def run() -> None:
    """Run both parts, each in a project of its own."""
    for part in (waiting, replay):
        with tempfile.TemporaryDirectory() as directory:
            project = Path(directory)
            (project / "spells").mkdir()
            (project / "llmspell.toml").write_text(SETTINGS, encoding="utf-8")
            for name, body in SPELLS.items():
                (project / "spells" / f"{name}.lua").write_text(SPELL % body, encoding="utf-8")
            await part(project)


def main() -> None:
    """Measure and print."""
    uvloop.run(run())


if __name__ == "__main__":
    main()
