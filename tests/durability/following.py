"""Following runs in these tests: until one is parked, asks or has ended, and what is kept of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from llmspell.host.handles import LiveHandle
from llmspell.host.host import Host
from llmspell.host.run_interface import RunHandle
from llmspell.runs.record import Outcome, Question, Run
from llmspell.security.principals import Caller, local_caller

ME = local_caller()
SECONDS = 20.0
"""Bound of every wait."""


async def until(holds: Callable[[], object], what: str) -> None:
    """Return once `holds()` does; fail with `what` when it does not in time."""
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                if holds():
                    return
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"not in time: {what}") from None


async def parked(host: Host, run_id: str) -> LiveHandle:
    """Return the handle of a run once nothing is at work for it and it waits."""
    handle = await host.run(run_id, caller=ME)
    assert isinstance(handle, LiveHandle), await handle.record()
    await until(lambda: handle.live.run.parked and handle.casting is None, f"{run_id} is parked")
    return handle


async def asked(handle: RunHandle, count: int = 1) -> list[Question]:
    """Return the questions of a run once it asks so many."""
    async with asyncio.timeout(SECONDS):
        while True:
            run = await handle.record()
            if len(run.questions) >= count:
                return run.questions
            assert not run.is_final, run
            await asyncio.sleep(0.005)


async def ended(handle: RunHandle) -> Outcome:
    """Return what came of a run once it has ended."""
    async with asyncio.timeout(SECONDS):
        async for _ in handle.events():
            pass
        return await handle.result()


async def records(host: Host, caller: Caller = ME) -> dict[str, Run]:
    """Return every run of a caller, by id."""
    return {run.id: run for run in (await host.runs(caller=caller, limit=100_000)).runs}


async def child_of(host: Host, run_id: str) -> Run:
    """Return the only child of a run."""
    [child] = [run for run in (await records(host)).values() if run.parent == run_id]
    return child
