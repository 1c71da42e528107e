"""Calls of every kind, by every door, while clients cancel, break off and die, and owners too.

Nothing may be left of it: no call without an end, no effect lost or done twice,
no run, task, worker, session or descriptor that nobody needs, and no memory.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from llmspell.bridge.meeting import Address
from llmspell.clock import SystemClock
from llmspell.host.door_records import DoorRecords
from llmspell.host.remote import RemoteHost
from llmspell.runs.archive import Archive
from llmspell.runs.record import Run, RunState
from llmspell.security.principals import local_caller
from llmspell.state.rocks import RocksStore
from tests.durability.storm.bridges import Bridged, Seat
from tests.durability.storm.holdings import CENSUS, Holdings, environ_of, holdings_of, rss_of
from tests.durability.storm.legacy import LegacyHttp
from tests.durability.storm.modern import ModernHttp
from tests.durability.storm.spells import RELOADED, SPELLS
from tests.durability.storm.storm import Storm
from tests.durability.test_random_kills import free_port
from tests.support.owners import OwnedProject, owned_project
from tests.support.servers import environment

CALLS = int(os.environ.get("TEST_CALLS", "400"))
"""How many, which `make soak` raises."""

KILLS = int(os.environ.get("TEST_KILLS") or max(3, CALLS // 250))
"""Owners killed, all in the first half: what memory does is seen in one that lives."""

LONGEST = 3.0 if CALLS < 1000 else 8.0
"""Seconds a call sleeps at most. From five on the run is parked meanwhile."""

SESSIONS = 16
"""Sessions one principal may have: the setting."""

MODERN, LEGACY, SEATS, LANES = 6, 4, 4, 3
"""Clients of HTTP in either era; bridges, half of them in either; and how many share one."""

SETTLE_SECONDS = 30.0
STORM_SECONDS = 60.0 + CALLS / 5
SLACK = 8
"""How many more objects of a class there may be after the second half than before it."""

DATABASE_BYTES = 64 << 20
"""What the database's write buffers and its cache may come to: no leak, but no more than that."""

BYTES_PER_CALL = 1024
"""Bytes of memory that the second half may add with each call, the database's apart."""

BLOCKS_SLACK, BLOCKS_PER_CALL = 10_000, 4
"""Blocks of Python's memory likewise. What changed of the state is remembered: two a call, up to
a bound that no storm reaches."""

IDLE_WORKERS = 2

SETTINGS = f"""
[server]
sessions = {SESSIONS}
[runs]
wait = "5s"
[mcp]
task_after = "300ms"
[runtime]
idle_workers = {IDLE_WORKERS}
warm_seconds = 1
"""


async def test_nothing_is_left_of_a_storm_of_calls(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get("TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"seed {seed}")
    record_property("seed", seed)
    census = tmp_path / "census"
    census.mkdir()
    roots = os.pathsep.join([os.fspath(CENSUS), environment()["PYTHONPATH"]])
    environ = {**environ_of(census), "PYTHONPATH": roots}
    with owned_project(tmp_path / "project", (), environ=environ) as project:
        (project.root / "llmspell.toml").write_text(SETTINGS, encoding="utf-8")
        for name, source in SPELLS.items():
            (project.root / "spells" / f"{name}.lua").write_text(source, encoding="utf-8")
        storm = Storm(project, free_port(), random.Random(seed), LONGEST)
        began = time.monotonic()
        try:
            async with served(storm):
                await blow(storm, CALLS // 2, kills=KILLS)
                await settled(storm)
                before = await at_rest(project, census)
                calls, edits = storm.done, storm.seen["edits"]
                memory = await blow(storm, CALLS - CALLS // 2)
                await settled(storm)
                calls, edits = storm.done - calls, storm.seen["edits"] - edits
                # Of a version that was edited a few are kept.
                slack = SLACK + 2 * edits
                after = await at_rest(project, census, before, slack=slack)
                tally = await tally_of(storm)
                sessions = await LegacyHttp(storm, "last").begins_sessions(SESSIONS + 4)
            project.stop()
        finally:
            print(f"{storm.left} left", dict(storm.seen), *storm.problems[:20], sep="\n")
        for name, value in {
            "calls": f"{storm.done} in {time.monotonic() - began:.0f} s, {KILLS} owners killed",
            "seen": " ".join(f"{name}: {n}" for name, n in sorted(storm.seen.items())),
            "slowest call without a kill": f"{storm.slowest:.1f} s",
            "memory": f"{before.rss >> 10} KiB, then {after.rss >> 10} KiB; "
            f"of it the database {before.database >> 10} KiB, then {after.database >> 10} KiB; "
            f"slope {slope_of(memory):.0f} bytes a call",
            "blocks": f"{before.blocks}, then {after.blocks}",
            "descriptors": f"{before.descriptors}, then {after.descriptors}",
            "tasks": f"{before.tasks.total()}, then {after.tasks.total()}",
            "garbage": f"{before.garbage}, then {after.garbage}",
        }.items():
            record_property(name, value)
        assert not storm.problems
        check_effects(storm, tally)
        await check_records(storm, sessions[-SESSIONS:])
        assert not after.more_than(before, slack=slack)
        assert after.workers <= IDLE_WORKERS + 1
        room = DATABASE_BYTES - before.database
        assert after.rss - before.rss < room + calls * BYTES_PER_CALL
        assert after.blocks - before.blocks < BLOCKS_SLACK + calls * BLOCKS_PER_CALL


# -- the storm


@asynccontextmanager
async def served(storm: Storm) -> AsyncGenerator[None]:
    """Have `llmspell serve` run meanwhile, started again whenever its owner has died."""
    over = asyncio.Event()
    serving = asyncio.ensure_future(keep_serving(storm, over))
    try:
        yield
    finally:
        over.set()
        async with asyncio.timeout(SETTLE_SECONDS):
            await serving


async def keep_serving(storm: Storm, over: asyncio.Event) -> None:
    while not over.is_set():
        async with storm.killing:
            epoch = storm.epoch
        process = await asyncio.create_subprocess_exec(
            *storm.project.command("serve", "--port", str(storm.port)),
            cwd=storm.project.root,
            env=storm.project.environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        heard = asyncio.ensure_future(hear(storm, process, epoch))
        ended = asyncio.ensure_future(process.wait())
        stopping = asyncio.ensure_future(over.wait())
        await asyncio.wait([ended, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ended.done():
            process.terminate()
        await asyncio.wait([ended, heard])


async def hear(storm: Storm, process: asyncio.subprocess.Process, epoch: int) -> None:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        if b"Ctrl-C" not in line:
            continue
        if storm.epoch == epoch:
            storm.calm.set()  # it says so once it answers
        elif process.returncode is None:
            # An owner was killed since it began: whether it speaks of that one or of the next
            # nobody can tell, so another one says it anew.
            process.terminate()


async def blow(storm: Storm, calls: int, *, kills: int = 0) -> list[tuple[int, int]]:
    """Let every client call until so many calls are made; return memory by calls made."""
    storm.left = calls
    first = storm.done
    http = [
        *(ModernHttp(storm, f"modern-{n}") for n in range(MODERN)),
        *(LegacyHttp(storm, f"legacy-{n}") for n in range(LEGACY)),
    ]
    seats = [Seat(storm, is_modern=bool(n % 2)) for n in range(SEATS)]
    bridged = [
        Bridged(storm, f"bridge-{n}-{lane}", seat)
        for n, seat in enumerate(seats)
        for lane in range(LANES)
    ]
    memory: list[tuple[int, int]] = []
    beside = asyncio.ensure_future(meddle(storm, first, calls, kills, memory))
    try:
        async with asyncio.timeout(STORM_SECONDS):
            await asyncio.gather(*(client.live() for client in (*http, *bridged)))
            await beside
            await asyncio.gather(*(seat.end() for seat in seats))
            await LegacyHttp(storm, "last").ends_all()
    finally:
        beside.cancel()
        for client in http:
            client.close()
    return memory


async def meddle(
    storm: Storm, first: int, calls: int, kills: int, memory: list[tuple[int, int]]
) -> None:
    """Kill owners and edit spells, evenly spread over the calls; else note what memory does."""
    kill_at = [first + calls * (n + 1) // (kills + 1) for n in range(kills)]
    reload_every = max(40, calls // 25)
    next_reload = first + reload_every
    sampled = first
    while storm.done < first + calls:
        await asyncio.sleep(0.02)
        if kill_at and storm.done >= kill_at[0]:
            kill_at.pop(0)
            await kill_owner(storm)
        if storm.done >= next_reload:
            next_reload += reload_every
            edit(storm)
        if not kills and storm.done >= sampled + max(10, calls // 50):
            sampled = storm.done
            if (owner := storm.project.owner) is not None:
                memory.append((storm.done, rss_of(owner)))


async def kill_owner(storm: Storm) -> None:
    async with asyncio.timeout(SETTLE_SECONDS):
        if storm.chance.random() < 0.8:  # else it may not even have come to itself
            await storm.calm.wait()
        await asyncio.sleep(storm.chance.uniform(0, 0.2))
        while not storm.project.owner:  # noqa: ASYNC110  # another process begins it
            await asyncio.sleep(0.01)
        async with storm.killing:
            storm.calm.clear()
            storm.epoch += 1
            storm.killed.append(time.monotonic())
            await asyncio.to_thread(storm.project.kill_owner)


def edit(storm: Storm) -> None:
    name = storm.chance.choice(RELOADED)
    path = storm.project.root / "spells" / f"{name}.lua"
    new = path.with_suffix(".new")
    new.write_text(f"-- Edited after {storm.done} calls.\n{SPELLS[name]}", encoding="utf-8")
    new.replace(path)
    storm.seen["edits"] += 1


# -- after it


async def settled(storm: Storm) -> None:
    """Return once nothing is under way but what waits for a person, and then not even that."""
    me = local_caller()
    address = Address(storm.project.root, storm.project.state)
    async with asyncio.timeout(2 * SETTLE_SECONDS), await RemoteHost.attach(address) as host:

        async def found(*states: RunState) -> list[Run]:
            pages = [await host.runs(caller=me, state=state, limit=500) for state in states]
            return [run for page in pages for run in page.runs]

        excused = storm.excused | {
            id
            for id, at in storm.given_up.items()
            # Nobody says that a connection that broke off was noticed.
            if any(at - 1 < killed < at + 2 for killed in storm.killed)
        }
        end = time.monotonic() + SETTLE_SECONDS
        while left := [
            run for run in await found("submitted", "working") if id_of(run) not in excused
        ]:
            if time.monotonic() > end:
                storm.problems += [f"under way for ever: {run}" for run in left]
                break
            await asyncio.sleep(0.1)
        for run in await found("input_required", "working", "submitted"):
            if id_of(run) in storm.once:
                storm.problems.append(f"answered, and under way still: {run}")
            storm.seen["stopped at last"] += 1
            handle = await host.run(run.id, caller=me)
            await handle.cancel()
        assert not await found("submitted", "working", "input_required", "auth_required")


def id_of(run: Run) -> str:
    """Return the id of the call that a run is of."""
    match run.input:
        case {"id": str(id)}:
            return id
        case _:
            return ""


async def at_rest(
    project: OwnedProject, census: Path, before: Holdings | None = None, *, slack: int = 0
) -> Holdings:
    """Return what the owner holds once it is at rest: when two looks are alike, or as before."""
    owner = project.owner
    assert owner
    last: Holdings | None = None
    end = time.monotonic() + SETTLE_SECONDS
    while True:
        now = await holdings_of(owner, census)
        if now.workers <= IDLE_WORKERS + 1:  # and the process that forks them
            if before is not None and not now.more_than(before, slack=slack):
                return now
            if before is None and last is not None and not now.more_than(last):
                return now
        if time.monotonic() > end:
            return now
        last = now
        await asyncio.sleep(0.5)


async def tally_of(storm: Storm) -> dict[str, int]:
    """Return how often each effect was had."""
    seat = Seat(storm, is_modern=False)
    bridge = await seat.bridge()
    tally: dict[str, int] = {}
    after = ""
    async with asyncio.timeout(SETTLE_SECONDS):
        while True:
            call = {"name": "tally", "arguments": {"after": after}}
            answer = await bridge.request("tools/call", call)
            page: dict[str, Any] = answer["result"]["structuredContent"]
            tally |= page["found"] or {}
            after = page["next"]
            if not after:
                break
    await seat.end()
    return tally


def check_effects(storm: Storm, tally: dict[str, int]) -> None:
    """Whatever was acknowledged was done once, and nothing twice."""
    assert not {key: times for key, times in tally.items() if times != 1}
    assert {key.rpartition("/")[2] for key in tally} <= storm.calls
    done = {key.removeprefix("times/") for key in tally if key.startswith("times/")}
    assert storm.once <= done, storm.once - done
    parts = {key.removeprefix("part/") for key in tally if key.startswith("part/")}
    assert {id for id in storm.once if id.startswith("works")} <= parts
    assert not {id for id in done if id.startswith("doomed")}


async def check_records(storm: Storm, sessions: list[str]) -> None:
    """No run is live, and of sessions the open ones are on record, as many as there may be."""
    store = RocksStore.open(storm.project.state / "db")
    try:
        assert await Archive(store).live() == []
        kept = await DoorRecords(store, SystemClock()).list("mcp.session")
        assert sorted(id for id, _ in kept) == sorted(sessions)
    finally:
        await store.close()


def slope_of(memory: list[tuple[int, int]]) -> float:
    """Return by how many bytes memory grew with each call."""
    half = memory[len(memory) // 4 :]
    return statistics.linear_regression(*zip(*half, strict=True)).slope if len(half) > 2 else 0.0
