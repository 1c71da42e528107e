"""The owner is killed at random, under load from many clients, and nobody is told a lie."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path

import pytest

from llmspell.bridge.meeting import Address
from llmspell.host.remote import RemoteHost
from llmspell.runs.archive import Archive
from llmspell.runs.journal_records import read_journal
from llmspell.runs.record import TERMINAL, Run, RunState
from llmspell.security.principals import local_caller
from llmspell.state.rocks import RocksStore
from tests.durability.load import SPELLS, Account, Bridged, Served
from tests.support.owners import OwnedProject, owned_project, wait_until

KILLS = int(os.environ.get("TEST_KILLS", "5"))
"""How often, which `make soak` raises."""

PER_ROUND = 20
BRIDGES = 4
SETTLE_SECONDS = 60.0
ON_ITS_WAY_SECONDS = 0.03
"""No owner comes to itself and answers within that."""
STALL_SECONDS = 5.0
"""What a half of the answers after a kill come within on any machine; the goal is a tenth."""


@pytest.mark.parametrize("round_", range(-(-KILLS // PER_ROUND)))
def test_nothing_is_lost_torn_or_done_twice_by_kills_under_load(
    tmp_path: Path, round_: int, record_property: Callable[[str, object], None]
) -> None:
    kills = min(PER_ROUND, KILLS - round_ * PER_ROUND)
    seed = random.SystemRandom().randrange(1 << 32)
    record_property("seed", seed)
    with owned_project(tmp_path / "project", ()) as project:
        for name, source in SPELLS.items():
            (project.root / "spells" / f"{name}.lua").write_text(source, encoding="utf-8")
        accounts, killed = under_load(project, kills, random.Random(seed))
        runs = settled(project)
        with project.bridge() as client:
            client.initialize()
            totals = client.request("tools/call", {"name": "totals", "arguments": {}}, 1)
        project.stop()
        check_state(totals["result"]["structuredContent"], accounts)
        check_schedule(runs, since=killed[-1][0])
        asyncio.run(check_records(project))
        stalls = stalls_of(accounts[:BRIDGES], [at for _, at in killed])
        half = statistics.median(stalls)
        record_property("stall", f"p50 {half:.3f} s, longest {max(stalls):.3f} s, {kills} kills")
        record_property("answers", sum(account.counted + account.rested for account in accounts))
        assert half < STALL_SECONDS


def under_load(
    project: OwnedProject, kills: int, chance: random.Random
) -> tuple[list[Account], list[tuple[float, float]]]:
    """Kill the owner while clients ask; return their accounts and when it was, by both clocks."""
    over, served = threading.Event(), threading.Event()
    killed: list[tuple[float, float]] = []
    with ExitStack() as stack, ThreadPoolExecutor(BRIDGES + 2) as pool:
        clients = [
            Bridged(stack.enter_context(project.bridge()), f"b{number}", chance.randrange(1 << 32))
            for number in range(BRIDGES)
        ]
        http = Served(project, free_port())
        loads = [pool.submit(client.run, over) for client in clients]
        everybody = [*(client.account for client in clients), http.account]

        def all_answered(more: int) -> None:
            """Return once everybody had so many answers more; raise what went wrong with one."""
            before = [account.counted for account in everybody]
            wait_until(
                lambda: (
                    any(load.done() for load in loads)
                    or all(
                        account.counted >= then + more
                        for account, then in zip(everybody, before, strict=True)
                    )
                ),
                f"everybody is answered: {everybody}",
            )
            for load in loads:
                if load.done():
                    load.result()

        try:
            wait_until(lambda: project.owner, "there is an owner")
            keeping = pool.submit(http.keep, served)
            loads.append(pool.submit(http.run, over, served))
            all_answered(1)
            for _ in range(kills):
                if chance.random() < 0.7:  # else it may not even have come to itself
                    all_answered(2)
                over.wait(chance.uniform(0, 0.7))
                wait_until(lambda: project.owner, "another owner has come")
                project.kill_owner()
                killed.append((time.time(), time.monotonic()))
            all_answered(3)
        finally:
            over.set()
            wait(loads, SETTLE_SECONDS)
            served.set()
        for load in (*loads, keeping):
            load.result(SETTLE_SECONDS)
    return everybody, killed


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def settled(project: OwnedProject) -> list[Run]:
    """Return every scheduled run once the schedule has caught up, is over, and nothing is open."""
    wanted = time.time()

    async def look() -> list[Run]:
        async with await RemoteHost.attach(Address(project.root, project.state)) as host:
            async with asyncio.timeout(SETTLE_SECONDS):
                while True:
                    found = await scheduled(host)
                    if found and max(map(due_of, found)) >= wanted:
                        break
                    await asyncio.sleep(0.1)
                (project.root / "spells" / "tick.lua").unlink()
                open_states: list[RunState] = ["submitted", "working", "input_required"]
                while True:
                    pages = [await host.runs(caller=me, state=state) for state in open_states]
                    if not sum(page.total for page in pages) and "tick" not in {
                        spell.name for spell in host.catalogue().spells
                    }:
                        return await scheduled(host)
                    await asyncio.sleep(0.1)

    me = local_caller()

    async def scheduled(host: RemoteHost) -> list[Run]:
        found: list[Run] = []
        after: str | None = None
        while True:
            page = await host.runs(caller=me, door="schedule", limit=500, after=after)
            found += page.runs
            after = page.next
            if after is None:
                return found

    return asyncio.run(look())


def due_of(run: Run) -> float:
    """Return the time a scheduled run was due, which its key says."""
    return float(run.key.rpartition(":")[2])


def check_state(totals: dict[str, int], accounts: list[Account]) -> None:
    for account in accounts:
        assert totals[f"by/{account.by}"] == account.counted, account.by
    assert totals["sum"] == totals["total"] == sum(account.counted for account in accounts)
    worked = sum(account.worked for account in accounts)
    assert (totals["work/begun"], totals["work/ended"]) == (worked, worked)
    rested = sum(account.rested for account in accounts)
    assert (totals["rest/begun"], totals["rest/ended"]) == (rested, rested)


def check_schedule(runs: list[Run], *, since: float) -> None:
    """Each time due was cast for once, none was left out: it says `missed = "all"`."""
    assert {run.state for run in runs} == {"completed"}
    dues = sorted(map(due_of, runs))
    assert dues[-1] > since
    assert dues == [dues[0] + number for number in range(len(dues))]
    assert sorted(run.output for run in runs) == list(range(1, len(runs) + 1))


async def check_records(project: OwnedProject) -> None:
    """Every run has ended, and no effect was recorded twice."""
    store = RocksStore.open(project.state / "db")
    try:
        archive = Archive(store)
        assert await archive.live() == []
        caller = local_caller()
        after: str | None = None
        spells: Counter[str] = Counter()
        while True:
            runs, after, _ = await archive.list(caller, limit=100_000, after=after)
            for run in runs:
                assert run.state in TERMINAL, run
                spells[run.spell] += 1
                rows = await read_journal(store, run.id)
                keys = Counter(
                    row.record.key
                    for row in rows
                    if not row.record.begun and row.record.kind != "order"
                )
                assert not [key for key, times in keys.items() if times > 1], run
                events = await archive.events(run.id)
                assert [event.number for event in events] == list(range(1, len(events) + 1))
            if after is None:
                break
        assert set(spells) >= {"count", "work", "rest", "tick"}
    finally:
        await store.close()


def stalls_of(accounts: list[Account], killed: list[float]) -> list[float]:
    """Return how long each client waited after each kill for an answer of the next owner.

    What comes at once was on its way. A kill that the next one followed before all were
    answered is not counted.
    """
    stalls: list[float] = []
    for number, at in enumerate(killed):
        until = killed[number + 1] if number + 1 < len(killed) else float("inf")
        first = [
            next((time for time in account.times if at + ON_ITS_WAY_SECONDS < time < until), None)
            for account in accounts
        ]
        waited = [time - at for time in first if time is not None]
        if len(waited) == len(accounts):
            stalls += waited
    return stalls
