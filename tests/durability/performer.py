"""A process that performs one run and may be killed in it; the tests start it again and again.

Started with a project and the run's id ("" to begin one), it prints the id, answers
what the run asks, and prints the outcome as JSON. Its clock is fast, and the same in
every process. Models are asked through a provider that writes down each call.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec

from llmspell.clock import SystemClock
from llmspell.config import open_project
from llmspell.host.host import Host
from llmspell.security.principals import local_caller

SPEED = 20.0
BEGIN = 1_700_000_000.0


class FastClock(SystemClock):
    """The machine's time, faster."""

    def time(self) -> float:
        """Return the wall time."""
        return round(BEGIN + (time.time() - BEGIN) * SPEED, 6)

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of this clock."""
        await asyncio.sleep(max(0.0, seconds) / SPEED)

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Return a context that lasts so many seconds of this clock."""
        return asyncio.timeout(None if seconds is None else seconds / SPEED)


async def main(root: Path, run_id: str) -> None:
    """Perform the run to its end."""
    caller = local_caller()
    async with Host.open(open_project(root), watch=False, clock=FastClock()) as host:
        handle = (
            await host.run(run_id, caller=caller)
            if run_id
            else await host.start("work", {"topic": "owls"})
        )
        print(handle.id, flush=True)
        while True:
            outcome = await handle.result()
            if outcome.state != "input_required":
                break
            await handle.answer({"ok": True})
        print(msgspec.json.encode(outcome).decode(), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
