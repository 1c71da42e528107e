"""A journalled step against a bare fdatasync of as many bytes, and against DBOS on SQLite.

    python benchmarks/steps.py [PYTHON]

Steps of a spell (on record when the process dies, without a sync of their own),
model calls (of `scripted/echo`, which answers at once) and transactions of
state (both durable before the spell goes on): first one run by itself, then 64
runs at once, which share their syncs. The bare fdatasync appends
to a file as many bytes as the store wrote to its log for a step, on the same
disk, one after the other: what the disk takes, and no more. Wall time of one
step, what a cast costs besides divided among its steps. Times follow the disk
and whatever else uses it: the ratio of each round is the figure.

DBOS has an environment of its own, so that nothing here depends on it:

    python -m venv .venv/dbos
    .venv/dbos/bin/python -m pip install --require-hashes -r benchmarks/requirements-dbos.txt

PYTHON is that of such an environment, `.venv/dbos/bin/python` when not given.
DBOS is measured as it comes and, since SQLite's rollback journal needs several
syncs for a commit, with SQLite's write-ahead log too.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import uvloop
from measure import Figures, in_turn

from llmspell import Host
from llmspell.host.host import Host as OpenHost

AT_ONCE = 64
ALONE = 100
"""Steps of a run that is alone."""
EACH = 10
"""Steps of each of many."""
GOAL = 2.0
DBOS_PYTHON = Path(__file__).parent.parent / ".venv" / "dbos" / "bin" / "python"

SETTINGS = """\
models.default = "scripted/echo"
[limits]
model_calls = 1000
[runtime]
warm_workers = 64
"""
SPELLS = {
    "steps": """\
-- Do nothing, so many times, on record.
return Spell.create {
  input = { count = Schema.integer "Steps", name = Schema.string "Whose" },
  run = function(input, ctx)
    for number = 1, input.count do
      ctx:step("step", function() return number end)
    end
  end,
}
""",
    "models": """\
-- Ask a model so many times.
local echo = Agent.create { name = "Echo" }
return Spell.create {
  input = { count = Schema.integer "Calls", name = Schema.string "Whose" },
  run = function(input)
    for _ = 1, input.count do echo:ask "hello" end
  end,
}
""",
    "transactions": """\
-- Count so many times, in a key of each run.
return Spell.create {
  input = { count = Schema.integer "Transactions", name = Schema.string "Whose" },
  run = function(input)
    for _ = 1, input.count do
      State.transaction(function() State:set(input.name, (State:get(input.name) or 0) + 1) end)
    end
  end,
}
""",
}

DBOS_PROGRAM = """\
import sqlite3, sys, time
from dbos import DBOS

database, journal, at_once = sys.argv[1:]
with sqlite3.connect(database) as connection:
    connection.execute(f"PRAGMA journal_mode={journal}")
DBOS(config={
    "name": "steps", "system_database_url": f"sqlite:///{database}",
    "log_level": "ERROR", "max_executor_threads": int(at_once), "sys_db_pool_size": int(at_once),
})

@DBOS.step()
def step(number):
    return number

@DBOS.workflow()
def steps(count):
    for number in range(count):
        step(number)

DBOS.launch()
print("ready", flush=True)
for line in sys.stdin:
    workflows, count = map(int, line.split())
    cpu, wall = time.process_time(), time.perf_counter()
    for handle in [DBOS.start_workflow(steps, count) for _ in range(workflows)]:
        handle.get_result()
    print(time.process_time() - cpu, time.perf_counter() - wall, flush=True)
DBOS.destroy()
"""


class Disk:
    """Appends to a file and syncs it, by itself."""

    def __init__(self, path: Path, size: int) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._bytes = os.urandom(size)

    def run(self, count: int) -> tuple[float, float]:
        """Append `count` times, and return the CPU and wall seconds that took."""
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(count):
            os.write(self._file, self._bytes)
            os.fdatasync(self._file)
        return time.process_time() - cpu, time.perf_counter() - wall

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class Spells:
    """Casts in a host of this process. CPU time is that of the host, without its workers."""

    def __init__(self, runner: asyncio.Runner, host: OpenHost) -> None:
        self._runner = runner
        self._host = host

    async def _cast(self, spell: str, count: int, at_once: int) -> None:
        outcomes = await asyncio.gather(
            *(
                self._host.cast(spell, {"count": count, "name": f"run {number}"})
                for number in range(at_once)
            )
        )
        assert all(outcome.ok for outcome in outcomes), outcomes

    def run(self, spell: str, count: int, at_once: int) -> tuple[float, float]:
        """Cast a spell so many times at once, with `count` steps each; return what that took."""
        cpu, wall = time.process_time(), time.perf_counter()
        self._runner.run(self._cast(spell, count, at_once))
        return time.process_time() - cpu, time.perf_counter() - wall


class Dbos:
    """DBOS in a process of its own."""

    def __init__(self, python: Path, database: Path, journal: str) -> None:
        self._process = subprocess.Popen(
            [python, "-c", DBOS_PROGRAM, database, journal, str(AT_ONCE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert _pipe(self._process.stdout).readline() == "ready\n"

    def run(self, count: int, at_once: int) -> tuple[float, float]:
        """Run so many workflows at once, with `count` steps each; return what that took."""
        print(at_once, count, file=_pipe(self._process.stdin), flush=True)
        cpu, wall = _pipe(self._process.stdout).readline().split()
        return float(cpu), float(wall)

    def close(self) -> None:
        """End the process."""
        _pipe(self._process.stdin).close()
        self._process.wait()


def _pipe(found: IO[str] | None) -> IO[str]:
    assert found is not None
    return found


def log_bytes(database: Path) -> int:
    """Return the size of the store's write-ahead logs."""
    return sum(path.stat().st_size for path in database.glob("*.log"))


def compare(title: str, at_once: int, disk: Disk, spells: Spells, others: dict[str, Dbos]) -> None:
    """Measure all in turn with so many runs at once, and print a table."""

    def share(count: int) -> int:
        return max(1, count // at_once)

    subjects = [("bare fdatasync, one after the other", disk.run)]
    for spell, name in (
        ("steps", "llmspell, ctx:step"),
        ("models", "llmspell, model call"),
        ("transactions", "llmspell, State.transaction"),
    ):
        subjects.append((name, lambda count, spell=spell: spells.run(spell, share(count), at_once)))
    for name, dbos in others.items():
        subjects.append((name, lambda count, dbos=dbos: dbos.run(share(count), at_once)))
    figures = in_turn(subjects, count=at_once * EACH if at_once > 1 else ALONE)
    print(f"\n{title}\n{'':40} {'wall us':>8} {'least':>7} {'CPU us':>7} {'ratio':>7}")
    for each in figures:
        print(
            f"{each.name:40} {statistics.median(each.wall_us):8.0f} {min(each.wall_us):7.0f} "
            f"{statistics.median(each.cpu_us):7.0f} {_ratio(each, figures[0]):7.2f}"
        )
    if at_once > 1:
        return  # throughput against syncs one after the other: no latency to hold to the goal
    ratio = _ratio(figures[1], figures[0])
    kept = "kept" if ratio <= GOAL else "missed"
    print(f"ctx:step takes {ratio:.2f} bare fdatasyncs; the goal of at most {GOAL:g} is {kept}")


def _ratio(figures: Figures, base: Figures) -> float:
    return statistics.median(
        mine / theirs for mine, theirs in zip(figures.wall_us, base.wall_us, strict=True)
    )


@contextmanager
def dbos_at(python: Path, place: Path) -> Generator[dict[str, Dbos]]:
    """Start DBOS twice; where it is not installed, say how to install it and start nothing."""
    if not python.exists():
        print(f"without DBOS: there is no {python}. How to make it:\n{_how()}")
        yield {}
        return
    others = {
        "DBOS on SQLite, as it comes": Dbos(python, place / "delete.db", "DELETE"),
        "DBOS on SQLite, write-ahead log": Dbos(python, place / "wal.db", "WAL"),
    }
    try:
        yield others
    finally:
        for dbos in others.values():
            dbos.close()


def _how() -> str:
    return "\n".join(line for line in (__doc__ or "").splitlines() if ".venv/dbos " in line)


def main() -> None:
    """Open a host and what it is compared with on one disk, and measure them in turn."""
    python = Path(sys.argv[1]) if len(sys.argv) > 1 else DBOS_PYTHON
    with (
        tempfile.TemporaryDirectory() as directory,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        place = Path(directory)
        project = place / "project"
        (project / "spells").mkdir(parents=True)
        (project / "llmspell.toml").write_text(SETTINGS, encoding="utf-8")
        for name, source in SPELLS.items():
            (project / "spells" / f"{name}.lua").write_text(source, encoding="utf-8")
        opening = Host.open(project, watch=False)
        host = runner.run(opening.__aenter__())
        try:
            spells = Spells(runner, host)
            spells.run("steps", 1, 1)
            before = log_bytes(host.project.state / "db")
            spells.run("steps", ALONE, 1)
            size = (log_bytes(host.project.state / "db") - before) // ALONE
            print(f"the store writes {size} bytes to its log for a step")
            disk = Disk(place / "bare", size)
            with dbos_at(python, place) as others:
                compare("One run", 1, disk, spells, others)
                compare(f"{AT_ONCE} runs at once, per step", AT_ONCE, disk, spells, others)
            disk.close()
        finally:
            runner.run(opening.__aexit__(None, None, None))


if __name__ == "__main__":
    main()
