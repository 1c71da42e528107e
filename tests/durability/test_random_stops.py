"""Trees that are stopped, answered, parked, closed and killed at random, in any order.

Between two owners nothing may be left that nobody looks after: no run that waits for nothing,
no question that nobody asks, no child whose parent has ended, no key without its run.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from llmspell.errors import LlmspellError, RunError
from llmspell.host.handles import LiveHandle
from llmspell.host.host import Host
from llmspell.runs.journal_records import read_journal
from llmspell.runs.parking import GRACE_SECONDS
from llmspell.runs.record import Run
from llmspell.state.rocks import RocksStore
from tests.durability.following import ME, records, until
from tests.support.hosts import open_host

ROUNDS = int(os.environ.get("TEST_KILLS", "5"))
"""How many owners follow one another, which `make soak` raises."""

TREES = 4
"""Trees that are begun with each owner."""

ACTS = 30
"""What is done to them at random before the owner goes."""

LEAF = """
local writer = Agent.create { name = "writer" }
return Spell.create { input = { id = Schema.string() }, run = function(input, ctx)
  State.shared:increment("leaf/" .. input.id)
  writer:ask(input.id)
  local answer = ctx:ask { message = "Leaf?" }
  State.shared:increment("answered/" .. input.id)
  return answer.ok
end }"""
MIDDLE = """
local writer = Agent.create { name = "writer" }
local inner = Spell.create { name = "inner", run = function(_, ctx)
  writer:ask "inside"
  return ctx:ask { message = "Inside?" }
end }
return Spell.create {
  needs = { tools = { "leaf" } },
  input = { id = Schema.string() },
  run = function(input, ctx)
    return parallel {
      function() return pcall(function() return inner:cast {} end) end,
      function() return pcall(function() return Spell.get("leaf"):cast { id = input.id } end) end,
      function() sleep(0.01) end,
    }
  end,
}"""
ROOT = """return Spell.create {
  needs = { tools = { "middle", "leaf" } },
  input = { id = Schema.string() },
  run = function(input, ctx)
    ctx:progress(1, 2)
    local last = input.id:sub(-1)
    if last == "0" then
      parallel {
        function() return Spell.get("leaf"):cast { id = input.id .. "a" } end,
        function() return Spell.get("middle"):cast { id = input.id .. "b" } end,
      }
    elseif last == "1" then
      pcall(function() return Spell.get("middle"):cast { id = input.id .. "a" } end)
      sleep(3600)
    else
      pcall(function() return Spell.get("middle"):cast { id = input.id .. "a" } end)
      pcall(function() return Spell.get("leaf"):cast { id = input.id .. "b" } end)
    end
    State.shared:increment("root/" .. input.id)
    return input.id
  end,
}"""
SPELLS = {"leaf": LEAF, "middle": MIDDLE, "root": ROOT}


class Storm:
    """What is done to trees, and what was acknowledged of it."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.begun: dict[str, str] = {}
        """Runs whose beginning was acknowledged, by key."""
        self.canceled: set[str] = set()
        self.answered: set[str] = set()
        """Questions, by their ids."""
        self.count = 0

    async def begin(self, host: Host) -> None:
        """Begin a tree."""
        self.count += 1
        key = f"tree-{self.count}"
        handle = await host.start(
            "root", {"id": f"{self.count // 3}-{self.count % 3}"}, caller=ME, key=key
        )
        self.begun[key] = handle.id

    async def cancel(self, host: Host, run: Run) -> None:
        """Stop a run."""
        handle = await host.run(run.id, caller=ME)
        assert (await handle.cancel()).state == "canceled"
        self.canceled.add(run.id)

    async def answer(self, host: Host, run: Run) -> None:
        """Answer a question at a run that shows it."""
        handle = await host.run(run.id, caller=ME)
        asked = (await handle.record()).questions
        if asked:
            question = self.chance.choice(asked)
            await handle.answer(True, question=question.id)
            self.answered.add(question.id)

    async def park(self, host: Host, run: Run) -> None:
        """Let the tree of a run go in whatever moment this is, as if it only waited."""
        while run.parent is not None:
            run = await (await host.run(run.parent, caller=ME)).record()
        handle = await host.run(run.id, caller=ME)
        if isinstance(handle, LiveHandle) and handle.casting is not None:
            handle.casting.leave("parked")

    async def act(self, host: Host) -> None:
        """Do something to some run."""
        left = [run for run in await host.services.archive.live() if not run.is_final]
        if not left:
            return
        what = self.chance.choices((self.cancel, self.answer, self.park), (1, 4, 2))[0]
        await what(host, self.chance.choice(left))

    async def pause(self) -> None:
        """Let some turns of the event loop pass, or a moment, in which trees may be parked."""
        if self.chance.random() < 0.3:
            await asyncio.sleep(self.chance.uniform(0, 1.5 * GRACE_SECONDS))
        for _ in range(self.chance.randrange(40)):
            await asyncio.sleep(0)


async def blow(host: Host, storm: Storm) -> list[asyncio.Task[None]]:
    """Do so much at random; return what is under way still."""
    acts = [asyncio.ensure_future(storm.begin(host)) for _ in range(TREES)]
    for _ in range(ACTS):
        await storm.pause()
        acts.append(asyncio.ensure_future(storm.act(host)))
    return acts


async def over(acts: list[asyncio.Task[None]]) -> None:
    """Return once it is over; whatever was refused is an error of ours."""
    async with asyncio.timeout(20):
        for problem in await asyncio.gather(*acts, return_exceptions=True):
            assert problem is None or isinstance(problem, LlmspellError), problem


async def at_rest(host: Host, storm: Storm) -> None:
    """Check that everything that has not ended is looked after, once nothing moves."""
    await until(lambda: not host.busy, "nothing is under way")
    services = host.services
    assert services.live == {}
    assert services.stops == {}
    runs = await records(host)
    live = {run.id: run for run in await services.archive.live()}
    for run in runs.values():
        assert run.is_final == (run.id not in live), run
        events = await services.archive.events(run.id)
        assert [event.number for event in events] == list(range(1, len(events) + 1))
        if run.is_final:
            assert run.questions == [], run
            assert run.wake_at is None, run
            continue
        if run.parent is None:
            assert run.parked, run
            assert run.questions or run.wake_at, run
        else:
            assert run.parent in live, run
            above = {question.id for question in live[run.parent].questions}
            assert {question.id for question in run.questions} <= above
        for question in run.questions:
            assert question.id not in storm.answered, question
            asker = live[question.run_id]
            assert question.key not in asker.answers, asker
            assert question in asker.questions
    for key, id in storm.begun.items():
        assert runs[id].key == key
    for id in storm.canceled:
        assert runs[id].state == "canceled"
    for key, id in storm.begun.items():
        again = await host.start("root", runs[id].input, caller=ME, key=key)
        assert again.id == id


async def let_end(host: Host) -> None:
    """Answer what is asked and stop what sleeps, until all has ended."""
    async with asyncio.timeout(60):
        while left := await host.services.archive.live():
            for run in left:
                if run.parent is not None:
                    continue
                handle = await host.run(run.id, caller=ME)
                try:
                    record = await handle.record()
                    if record.questions:
                        await handle.answer(True, question=record.questions[0].id)
                    elif record.parked and record.wake_at:
                        await handle.cancel()
                except RunError:
                    continue  # it moved on meanwhile
            await asyncio.sleep(0.005)


async def check_ends(host: Host) -> None:
    """Nothing was done twice, and what was spent is what the records tell."""
    runs = await records(host)
    items = (await host.state.scan("shared", "", limit=1000)).items
    assert not [item for item in items if item.value != 1]
    below: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    stopped: Counter[str] = Counter()
    for run in runs.values():
        rows = await read_journal(host.services.archive.store, run.id)
        keys = Counter(
            row.record.key for row in rows if not row.record.begun and row.record.kind != "order"
        )
        assert not [key for key, times in keys.items() if times > 1], run
        made = sum(row.record.kind == "model" for row in rows)
        ancestor: Run | None = run
        while ancestor is not None:
            calls[ancestor.id] += made
            below[ancestor.id] += ancestor is not run
            stopped[ancestor.id] += run.state == "canceled"
            ancestor = runs[ancestor.parent] if ancestor.parent else None
    for run in runs.values():
        if run.parent is None and run.state == "completed":
            assert run.usage.calls <= calls[run.id], run
            assert run.children <= below[run.id], run
            # One that was stopped while it was left does not count what had ended below it in the
            # very moment it was left.
            exact = (run.usage.calls, run.children) == (calls[run.id], below[run.id])
            assert exact or stopped[run.id], run


async def test_nobody_is_forgotten_when_trees_are_stopped_at_random(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get("TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"seed {seed}")
    record_property("seed", seed)
    chance = random.Random(seed)
    storm = Storm(chance)
    for _ in range(ROUNDS):
        await one_owner(tmp_path, storm)
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        await at_rest(host, storm)
        await let_end(host)
        await at_rest(host, storm)
        await check_ends(host)


async def one_owner(root: Path, storm: Storm) -> None:
    """Let one owner live and go: closed or killed, at rest or in the middle of all."""
    copy: Path | None = None
    async with open_host(root, SPELLS, state="rocksdb") as host:
        if storm.chance.random() < 0.5:
            await at_rest(host, storm)
        acts = await blow(host, storm)
        if storm.chance.random() < 0.3:
            await over(acts)
            await at_rest(host, storm)
        known = (dict(storm.begun), set(storm.canceled), set(storm.answered))
        if storm.chance.random() < 0.5:
            # What a kill leaves is what was written until then.
            copy = root / "copy"
            store = host.services.archive.store
            assert isinstance(store, RocksStore)
            await store.checkpoint(copy)
        await host.close()
        await over(acts)
        database = host.project.state / "db"
    if copy is not None:
        storm.begun, storm.canceled, storm.answered = known
        shutil.rmtree(database)
        copy.rename(database)
