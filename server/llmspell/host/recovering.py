"""What the last owner left: each run is taken up, left to its time, or ended."""

from __future__ import annotations

from llmspell.errors import RunInterrupted
from llmspell.host.handles import Runs
from llmspell.host.waking import Waking
from llmspell.runs.journal_records import last_number
from llmspell.runs.live import LiveRun
from llmspell.runs.record import Run
from llmspell.runs.services import Services
from llmspell.state.store import Durability

MAX_RESUMES = 10
"""How often a run is resumed that never gets to its next step: it may be what ends the process."""


async def recover(runs: Runs, waking: Waking, services: Services) -> None:
    """Take up every run the last owner left: at once, parked ones when their time comes."""
    left = await services.archive.live()
    ids = {run.id for run in left}
    for run in left:
        if run.parent is not None:
            if run.parent not in ids:
                await _end_orphan(run, runs, services)
            continue  # its parent finds it
        if not run.spell and not run.source:
            continue  # it waits for the choice of a spell, and is opened when that comes
        if run.parked and (run.questions or run.wake_at):
            waking.sleep(run)
            continue
        await _take_up(run, runs, waking, services)


async def _end_orphan(run: Run, runs: Runs, services: Services) -> None:
    events = await services.archive.events(run.id)
    live = LiveRun(run, services.archive, services.clock, events=events)
    await runs.fail(live, RunInterrupted(f"the run that began this {run.spell!r} has ended"))


async def _take_up(run: Run, runs: Runs, waking: Waking, services: Services) -> None:
    live = await runs.opened(run)
    handle = runs.get(run.id) or runs.hold(live)
    run = live.run
    number = await last_number(services.archive.store, run.id)
    if number != run.resumed_at:
        run.resumed, run.resumed_at = 0, number
    if run.resumed < MAX_RESUMES:
        run.resumed += 1
        await live.save(Durability.DURABLE)
        waking.wake(handle.id, "restart")
        return
    await runs.fail(
        live,
        RunInterrupted(
            f"the cast of {run.spell!r} was interrupted {run.resumed} times at the same step",
            hint="see what ends the process: llmspell logs",
        ),
    )
