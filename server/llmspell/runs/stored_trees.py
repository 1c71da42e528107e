"""Runs that no cast is at work for, ended with all below them.

A parked tree is one, and so is what a run had begun when it was left, until the run comes to that
again. Who may end them is `host`'s part.
"""

from __future__ import annotations

import asyncio

from llmspell.errors import RunCanceled, RunError
from llmspell.runs.journal_records import Spent, read_spent
from llmspell.runs.live import LiveRun
from llmspell.runs.services import Services
from llmspell.state.store import Durability


async def stop_tree(services: Services, live: LiveRun) -> Spent:
    """Stop a run and all below it; return what it had spent, as those above it count it.

    Whoever comes to such a run meanwhile waits for that: see `Services.ending`.

    Raises:
        RunError: It has ended.
        StateError: An end could not be written; what stands above it goes on.
    """
    run_id = live.run.id
    ending = services.ending.setdefault(run_id, asyncio.Event())
    try:
        spent = await read_spent(services.archive.store, run_id)
        below = await stop_below(services, run_id)
        spent.add(below.usage, below.children, below.tool_calls)
        error = RunCanceled("the run was canceled").with_run(run_id).to_value()
        await live.finish(
            "canceled",
            error=error,
            usage=spent.usage,
            children=spent.children,
            tool_calls=spent.tool_calls,
            durability=Durability.DURABLE,
        )
    finally:
        ending.set()
        services.ending.pop(run_id, None)
    return spent


async def stop_below(services: Services, run_id: str) -> Spent:
    """Stop what a run had begun and no cast is at work for; return what that had spent.

    Raises:
        StateError: An end could not be written.
    """
    spent = Spent()
    for child in await services.archive.live():
        if child.parent != run_id or child.id in services.live:
            continue
        live = await services.reopen(child.tenant, child.id)
        if live is None or live.run.is_final:
            continue
        try:
            below = await stop_tree(services, live)
        except RunError:
            if not live.run.is_final:
                raise
            continue  # another has ended it in this moment
        spent.add(below.usage, below.children + 1, below.tool_calls)
    return spent
