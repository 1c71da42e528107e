"""What the benchmarks share: CPU time of a tree of processes, rounds in turn, a table of ratios.

CPU time is the figure to trust: the machines these run on are shared, and wall
time moves with whatever else they do. Linux only (`/proc`).
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time a process, its ended children and its living descendants have used."""
    total = 0.0
    for each in [pid, *descendants(pid)]:
        try:
            stat = Path(f"/proc/{each}/stat").read_text(encoding="utf-8")
            if each == os.getpid():
                total += time.process_time()  # threads that have ended included
            else:
                for thread in Path(f"/proc/{each}/task").iterdir():
                    # Nanoseconds on a processor; `stat` counts in ticks of 10 ms.
                    text = (thread / "schedstat").read_text(encoding="utf-8")
                    total += int(text.split()[0]) / 1e9
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = stat.rpartition(")")[2].split()
        total += sum(int(fields[index]) for index in (13, 14)) / _TICK
    return total


def descendants(pid: int) -> list[int]:
    """Return the living descendants of a process."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(encoding="utf-8")
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found: list[int] = []
    todo = [pid]
    while todo:
        parent = todo.pop()
        children = [child for child, above in parents.items() if above == parent]
        found += children
        todo += children
    return found


@dataclass
class Figures:
    """What one subject needed for one operation, over all rounds."""

    name: str
    cpu_us: list[float] = field(default_factory=list[float])
    wall_us: list[float] = field(default_factory=list[float])


def in_turn(
    subjects: Sequence[tuple[str, Callable[[int], tuple[float, float]]]],
    *,
    count: int,
    rounds: int = 5,
) -> list[Figures]:
    """Run each subject `count` times a round, A B C A B C ..., and return the figures.

    Each callable runs an operation `count` times and returns the CPU and wall
    seconds that took. The first round warms up and is not counted.
    """
    found = [Figures(name) for name, _ in subjects]
    for number in range(rounds + 1):
        for figures, (_, run) in zip(found, subjects, strict=True):
            cpu, wall = run(count if number else max(1, count // 5))
            if number:
                figures.cpu_us.append(cpu / count * 1e6)
                figures.wall_us.append(wall / count * 1e6)
    return found


def table(title: str, figures: Sequence[Figures], *, base: str) -> None:
    """Print medians and the ratio of each subject's CPU time to that of `base`."""
    reference = next(each for each in figures if each.name == base)
    columns = f"{'CPU us':>9} {'least':>7} {'wall us':>9} {'CPU ratio':>10}"
    print(f"\n{title}\n{'':44} {columns}")
    for each in figures:
        ratio = statistics.median(
            mine / theirs for mine, theirs in zip(each.cpu_us, reference.cpu_us, strict=True)
        )
        print(
            f"{each.name:44} {statistics.median(each.cpu_us):9.0f} {min(each.cpu_us):7.0f} "
            f"{statistics.median(each.wall_us):9.0f} {ratio:10.2f}"
        )
