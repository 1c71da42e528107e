"""What a cast costs, layer by layer, in this process: host, engine, and the floor under both.

    python benchmarks/cast.py

CPU time of this process and of every worker together. The floor is a bare
Python function behind the same JSON Schema check.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from measure import cpu_seconds, in_turn, table
from servers import ECHO

from llmspell import Host
from llmspell.components.schema import Schema
from llmspell.host.host import Host as OpenHost
from llmspell.runtime.engine import ScriptContext, ScriptLimits
from llmspell.values import JSON

STATE = """\
-- Count how often it was cast, in RocksDB.
return Spell.create { name = "count", run = function() return State:increment "n" end }
"""


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


def main() -> None:
    """Open a host, measure in turn, print the table."""
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory)
        (project / "spells").mkdir()
        (project / "llmspell.toml").write_text("", encoding="utf-8")
        (project / "spells" / "echo.lua").write_text(ECHO, encoding="utf-8")
        (project / "spells" / "count.lua").write_text(STATE, encoding="utf-8")
        opened = Host.open(project, watch=False)
        host = loop.run_until_complete(opened.__aenter__())
        try:
            figures = in_turn(_subjects(loop, host), count=200)
        finally:
            loop.run_until_complete(opened.__aexit__(None, None, None))
    table("One cast of an echo", figures, base="script in a fresh worker, no run")


def _subjects(
    loop: asyncio.AbstractEventLoop, host: OpenHost
) -> list[tuple[str, Callable[[int], tuple[float, float]]]]:
    castable = host.book.get("echo")
    assert castable is not None
    assert castable.program is not None
    assert castable.spec.run is not None
    program, function = castable.program, castable.spec.run
    schema = Schema(castable.spec.input)
    value: JSON = {"text": "hello"}

    async def floor() -> object:
        return value["text"] if not schema.problems(value) else None

    async def script() -> object:
        opened = await host.engine.open(program, ScriptLimits(), ScriptContext())
        opened.load(expected=castable.declaration)
        opened.call(function, [value], with_context=True)
        events = await opened.exchange()
        await opened.close()
        return events

    async def cast() -> object:
        return await host.cast("echo", value)

    async def count() -> object:
        return await host.cast("count", {})

    return [
        ("Python function behind the schema check", timed(loop, floor)),
        ("script in a fresh worker, no run", timed(loop, script)),
        ("Host.cast, no effect", timed(loop, cast)),
        ("Host.cast, one state write, durable end", timed(loop, count)),
    ]


if __name__ == "__main__":
    main()
