"""What a cast costs, layer by layer, in this process: host, engine, and the floor under both.

    python benchmarks/cast.py

CPU time of this process and of every worker together. The floor is a bare
Python function behind the same JSON Schema check. "Warm" is a worker that has
run the same spell for the same principal; "cold" one that has run nothing.
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop
from measure import cpu_seconds, descendants, in_turn, table
from servers import ECHO

from llmspell import Host
from llmspell.components.schema import Schema
from llmspell.host.host import Host as OpenHost
from llmspell.runtime.engine import (
    Finished,
    Program,
    Requested,
    Script,
    ScriptContext,
    ScriptLimits,
)
from llmspell.runtime.lua.engine import LuaEngine
from llmspell.values import JSON, FunctionRef

STATE = """\
-- Count how often it was cast, in RocksDB.
return Spell.create { name = "count", run = function() return State:increment "n" end }
"""
WAIT = """\
-- Wait.
return Spell.create {
  name = "wait", input = { seconds = Schema.number "How long" },
  run = function(input) sleep(input.seconds) return "done" end,
}
"""
SETTINGS = """\
[limits]
workers = 2000
queue = 2000
[runtime]
isolation = "{isolation}"
"""
LIMITS = ScriptLimits()
CALLS = b"return function(n) for i = 1, n do State.get 'k' end end"
FAN = b"""return function(n)
  local branches = {}
  for i = 1, 250 do branches[i] = function() return (State.get 'k') end end
  for _ = 1, n do parallel(branches) end
end"""
WAITING = 500


def timed(
    loop: asyncio.AbstractEventLoop, once: Callable[[], Awaitable[object]]
) -> Callable[[int], tuple[float, float]]:
    """Return what does `once` `count` times and says what that took."""

    def run(count: int) -> tuple[float, float]:
        async def times() -> None:
            for _ in range(count):
                await once()

        before, began = cpu_seconds(os.getpid()), time.perf_counter()
        loop.run_until_complete(times())
        wall = time.perf_counter() - began
        loop.run_until_complete(asyncio.sleep(0.1))  # workers end and are counted
        return cpu_seconds(os.getpid()) - before, wall

    return run


async def open_host(stack: AsyncExitStack, isolation: str) -> OpenHost:
    """Open a host on a project of its own."""
    project = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    (project / "spells").mkdir()
    (project / "llmspell.toml").write_text(SETTINGS.format(isolation=isolation), encoding="utf-8")
    for name, source in (("echo", ECHO), ("count", STATE), ("wait", WAIT)):
        (project / "spells" / f"{name}.lua").write_text(source, encoding="utf-8")
    return await stack.enter_async_context(Host.open(project, watch=False))


def main() -> None:
    """Open two hosts, measure in turn, print tables and figures."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # two descriptors a worker
    loop = uvloop.new_event_loop()
    stack = AsyncExitStack()
    jailed = loop.run_until_complete(open_host(stack, "process"))
    inline = loop.run_until_complete(open_host(stack, "inline"))
    print(f"{os.cpu_count()} processors; isolation: {jailed.engine.isolation().level}")
    try:
        figures = in_turn(_subjects(loop, jailed, inline), count=200)
        table("One cast of an echo", figures, base="Python function behind the schema check")
        table("The same, jailed and inline", figures[1:5], base="script, warm, jailed")
        figures = in_turn(_calls(loop, jailed, inline), count=500)
        table("One host call", figures, base="one after the other, jailed")
        for host, name in ((jailed, "jailed"), (inline, "inline")):
            loop.run_until_complete(throughput(host, name))
        loop.run_until_complete(crowd(jailed))
    finally:
        loop.run_until_complete(stack.aclose())
        loop.close()


def _subjects(
    loop: asyncio.AbstractEventLoop, jailed: OpenHost, inline: OpenHost
) -> list[tuple[str, Callable[[int], tuple[float, float]]]]:
    castable = jailed.book.get("echo")
    assert castable is not None
    assert castable.program is not None
    assert castable.spec.run is not None
    program, function = castable.program, castable.spec.run
    schema = Schema(castable.spec.input)
    value: JSON = {"text": "hello"}

    async def floor() -> object:
        return value["text"] if not schema.problems(value) else None

    def script(host: OpenHost, user: str) -> Callable[[], Awaitable[object]]:
        async def once() -> object:
            context = ScriptContext(user=user, tenant="t")
            opened = await host.engine.open(program, LIMITS, context)
            opened.load(expected=castable.declaration)
            opened.call(function, [value], with_context=True)
            events = await opened.exchange()
            await opened.close()
            return events

        return once

    def cast(host: OpenHost, name: str, input: JSON) -> Callable[[], Awaitable[object]]:
        return lambda: host.cast(name, input)

    return [
        ("Python function behind the schema check", timed(loop, floor)),
        ("script, warm, jailed", timed(loop, script(jailed, "somebody"))),
        # A script of nobody shares its worker with none: each has a fresh one.
        ("script, cold, jailed", timed(loop, script(jailed, ""))),
        ("script, inline", timed(loop, script(inline, "somebody"))),
        ("Host.cast, no effect, jailed", timed(loop, cast(jailed, "echo", value))),
        ("Host.cast, no effect, inline", timed(loop, cast(inline, "echo", value))),
        ("Host.cast, one state write, jailed", timed(loop, cast(jailed, "count", {}))),
    ]


def _calls(
    loop: asyncio.AbstractEventLoop, jailed: OpenHost, inline: OpenHost
) -> list[tuple[str, Callable[[int], tuple[float, float]]]]:
    def calls(host: OpenHost, source: bytes, at_once: int) -> Callable[[int], tuple[float, float]]:
        def run(count: int) -> tuple[float, float]:
            times = max(1, count // at_once)
            before, began = cpu_seconds(os.getpid()), time.perf_counter()
            loop.run_until_complete(answer_all(host, source, times))
            wall, cpu = time.perf_counter() - began, cpu_seconds(os.getpid()) - before
            done = times * at_once
            return cpu * count / done, wall * count / done

        return run

    return [
        ("one after the other, jailed", calls(jailed, CALLS, 1)),
        ("one after the other, inline", calls(inline, CALLS, 1)),
        ("250 at once, jailed", calls(jailed, FAN, 250)),
        ("250 at once, inline", calls(inline, FAN, 250)),
    ]


async def answer_all(host: OpenHost, source: bytes, count: int) -> None:
    """Cast a function that asks for effects, and answer each at once."""
    program = Program("spells/calls.lua", source, {}, f"v{len(source)}")
    script: Script = await host.engine.open(program, LIMITS, ScriptContext(user="u", tenant="t"))
    script.load()
    script.call(FunctionRef(1), [count], with_context=False)
    is_done = False
    while not is_done:
        for event in await script.exchange():
            if isinstance(event, Requested):
                script.answer(event.call, ok=True, value=[1, "1"], now=1.0)
            is_done = is_done or isinstance(event, Finished)
    await script.close()


async def throughput(host: OpenHost, name: str) -> None:
    """Print how many echoes go through in a second when many are under way."""

    async def line(count: int) -> None:
        for _ in range(count):
            await host.cast("echo", {"text": "hello"})

    await asyncio.gather(*(line(20) for _ in range(8)))
    rates: list[float] = []
    for _ in range(5):
        began = time.perf_counter()
        await asyncio.gather(*(line(100) for _ in range(8)))
        rates.append(800 / (time.perf_counter() - began))
    low, high = min(rates), max(rates)
    print(
        f"\nHost.cast of an echo, 8 at once, {name}: {statistics.median(rates):.0f} casts/s "
        f"({low:.0f} to {high:.0f})"
    )


async def crowd(host: OpenHost) -> None:
    """Print what 1,000 casts cost of which 500 wait for an effect."""
    before = _memory(descendants(os.getpid()))
    own = _memory([os.getpid()])
    seconds = 4.9  # a cast that sleeps longer lets its worker go
    waiting = [
        asyncio.ensure_future(host.cast("wait", {"seconds": seconds})) for _ in range(WAITING)
    ]
    began = time.perf_counter()
    while host_waiting(host) < WAITING:  # noqa: ASYNC110  # it becomes so in other processes
        await asyncio.sleep(0.05)
    ready = time.perf_counter() - began
    memory = _memory(descendants(os.getpid())) - before
    mine = _memory([os.getpid()]) - own
    took: list[float] = []

    async def echo() -> None:
        since = time.perf_counter()
        await host.cast("echo", {"text": "hello"})
        took.append(time.perf_counter() - since)

    began = time.perf_counter()
    await asyncio.gather(*(echo() for _ in range(WAITING)))
    wall = time.perf_counter() - began
    assert not any(task.done() for task in waiting)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    took.sort()
    print(
        f"\n{WAITING} casts wait: after {ready:.1f} s all do, each with {memory / WAITING:.0f} KiB "
        f"in its worker and {mine / WAITING:.0f} KiB in the server\n"
        f"{WAITING} echoes begun at once meanwhile: {WAITING / wall:.0f} casts/s, "
        f"median {took[len(took) // 2] * 1e3:.0f} ms, "
        f"p99 {took[int(len(took) * 0.99)] * 1e3:.0f} ms"
    )


def host_waiting(host: OpenHost) -> int:
    """Return how many workers there are beyond those kept ready."""
    assert isinstance(host.engine, LuaEngine)
    return len(host.engine.worker_pids) - 2


def _memory(pids: Sequence[int]) -> float:
    """Return the memory of processes in KiB, shared pages divided among those that share them."""
    total = 0.0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        total += float(text.partition("Pss:")[2].split()[0])
    return total


if __name__ == "__main__":
    main()
