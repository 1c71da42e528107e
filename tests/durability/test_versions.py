"""Versions: a run goes on with the spell it began with; a fork takes its steps over.

A run that asks for other effects than it recorded ends and says so, with both sides.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from llmspell.clock import ManualClock
from llmspell.errors import RunError, RunNotFound, SpellNotFound
from llmspell.host.host import Host
from llmspell.host.run_interface import Step
from llmspell.runs.journal_records import read_journal
from tests.durability.following import ME, SECONDS, asked, ended, parked
from tests.support.hosts import open_host, project

WAITS = """
return Spell.create {
  name = "waits",
  input = {},
  run = function(input, ctx)
    State.shared:increment "begun"
    sleep "1h"
    State.shared:increment "ended"
    return "the first"
  end,
}
"""

HELPER = 'return { word = function() return "old" end }'
WITH_MODULE = """
local helper = require "lib.helper"
return Spell.create {
  name = "with_module",
  input = {},
  run = function(input, ctx)
    ctx:ask { message = "Go on?" }
    return helper.word()
  end,
}
"""

STEPS = """
return Spell.create {
  name = "steps",
  input = {},
  run = function(input, ctx)
    local seen = {}
    for i = 1, 5 do
      seen[i] = ctx:step("step " .. i, function() return State.shared:increment "made" end)
    end
    return { seen = seen, luck = random(1000000), version = 1 }
  end,
}
"""

REVERSED = STEPS.replace('"step " .. i', '"step " .. 6 - i')

AGAIN = """
return Spell.create {
  name = "again",
  input = { n = Schema.integer(), sum = Schema.integer { default = 0 } },
  run = function(input, ctx)
    for i = 1, 4 do State.shared:increment "done" end
    if input.n > 0 then
      ctx:continue_as_new { n = input.n - 1, sum = input.sum + input.n }
    end
    return input.sum
  end,
}
"""

ENDLESS = """
return Spell.create {
  name = "endless",
  input = { times = Schema.integer() },
  run = function(input)
    for i = 1, input.times do State.shared:increment "n" end
    return "done"
  end,
}
"""


def spell(root: Path, name: str) -> Path:
    return root / "spells" / f"{name}.lua"


async def steps_of(host: Host, run_id: str) -> list[Step]:
    return list(await host.journal(run_id, caller=ME))


async def state_of(host: Host, key: str) -> Any:
    source = f"return State.shared:get('{key}', 0)"
    return (await host.cast_source("read.lua", source, {})).output


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("what", ["changed", "deleted", "broken"])
async def test_a_parked_run_ends_with_the_version_it_began_with(
    tmp_path: Path, what: str, restarted: bool
) -> None:
    clock = ManualClock()
    async with open_host(tmp_path, {"waits": WAITS}, state="rocksdb", clock=clock) as host:
        run_id = (await host.start("waits", {})).id
        before = (await parked(host, run_id)).live.run.spell_version
        change(spell(tmp_path, "waits"), what)
        await host.reload()
        if not restarted:
            await end_first_version(host, clock, run_id, before)
        elif what == "changed":
            assert (await host.start("waits", {})).id != run_id
    if restarted:
        opened = Host.open(project(tmp_path), clock=clock, watch=False)
        async with opened as host:
            await end_first_version(host, clock, run_id, before)


def change(path: Path, what: str) -> None:
    match what:
        case "changed":
            path.write_text(WAITS.replace("the first", "the second"), encoding="utf-8")
        case "deleted":
            path.unlink()
        case _:
            path.write_text("return Spell.create {", encoding="utf-8")


async def end_first_version(host: Host, clock: ManualClock, run_id: str, version: str) -> None:
    handle = await host.run(run_id, caller=ME)
    await clock.advance(3601)
    outcome = await ended(handle)
    assert outcome.output == "the first", outcome
    assert (await handle.record()).spell_version == version
    assert await state_of(host, "ended") == 1


async def test_a_parked_run_keeps_the_modules_it_began_with(tmp_path: Path) -> None:
    module = tmp_path / "spells" / "lib" / "helper.lua"
    module.parent.mkdir(parents=True)
    module.write_text(HELPER, encoding="utf-8")
    async with open_host(tmp_path, {"with_module": WITH_MODULE}, state="rocksdb") as host:
        run_id = (await host.start("with_module", {})).id
        await parked(host, run_id)
        module.write_text(HELPER.replace("old", "new"), encoding="utf-8")
    async with open_host(tmp_path, state="rocksdb") as host:
        handle = await host.run(run_id, caller=ME)
        await handle.answer(True)
        assert (await ended(handle)).output == "old"
        new = await host.start("with_module", {})
        await asked(new)
        await new.answer(True)
        assert (await ended(new)).output == "new"


async def test_a_fork_takes_the_first_steps_over_and_goes_on(tmp_path: Path) -> None:
    async with open_host(tmp_path, {"steps": STEPS}, state="rocksdb") as host:
        origin = await host.cast("steps", {})
        assert origin.output["seen"] == [1, 2, 3, 4, 5]
        steps = await steps_of(host, origin.run_id)
        names = [step.name for step in steps if step.kind == "step"]
        assert names == [f"step {number}" for number in range(1, 6)]
        third = next(step.number for step in steps if step.name == "step 3")
        inside = max(step.number for step in steps if step.number < third)
        async with asyncio.timeout(SECONDS):
            # Before what the third step did, and after it but before the step was recorded.
            for step, seen in ((inside, [1, 2, 6, 7, 8]), (third, [1, 2, 3, 9, 10])):
                fork = await host.fork(origin.run_id, caller=ME, step=step)
                outcome = await fork.result()
                assert outcome.output["seen"] == seen, outcome
                assert outcome.output["luck"] == origin.output["luck"]
                assert (await fork.record()).forked_from == origin.run_id
            whole = await (await host.fork(origin.run_id, caller=ME)).result()
        assert whole.output == origin.output
        assert whole.run_id != origin.run_id
        assert await state_of(host, "made") == 10


async def test_a_fork_of_a_fork_has_the_steps_of_both(tmp_path: Path) -> None:
    async with open_host(tmp_path, {"steps": STEPS}, state="rocksdb") as host:
        origin = await host.cast("steps", {})
        numbers = {step.name: step.number for step in await steps_of(host, origin.run_id)}
        fork = await host.fork(origin.run_id, caller=ME, step=numbers["step 3"] + 1)
        assert (await ended(fork)).output["seen"] == [1, 2, 3, 6, 7]
        again = await host.fork(fork.id, caller=ME)
        assert (await ended(again)).output["seen"] == [1, 2, 3, 6, 7]


async def test_a_fork_takes_the_current_version_when_told_so(tmp_path: Path) -> None:
    async with open_host(tmp_path, {"steps": STEPS}, state="rocksdb") as host:
        origin = await host.cast("steps", {})
        steps = await steps_of(host, origin.run_id)
        spell(tmp_path, "steps").write_text(
            STEPS.replace("version = 1", "version = 2"), encoding="utf-8"
        )
        await host.reload()
        old = await ended(await host.fork(origin.run_id, caller=ME, step=steps[2].number))
        assert old.output["version"] == 1
        fork = await host.fork(origin.run_id, caller=ME, step=steps[2].number, current=True)
        new = await ended(fork)
        assert new.output["version"] == 2
        assert new.output["seen"][:1] == origin.output["seen"][:1]
        published = host.catalogue().get("steps")
        assert published is not None
        assert (await fork.record()).spell_version == published.version


async def test_a_run_that_asks_for_something_else_ends_and_shows_both_sides(tmp_path: Path) -> None:
    async with open_host(tmp_path, {"steps": STEPS}, state="rocksdb") as host:
        origin = await host.cast("steps", {})
        spell(tmp_path, "steps").write_text(REVERSED, encoding="utf-8")
        await host.reload()
        fork = await host.fork(origin.run_id, caller=ME, current=True)
        outcome = await ended(fork)
        assert outcome.error is not None
        assert (outcome.state, outcome.error["code"]) == ("failed", "run.diverged")
        data = outcome.error["data"]
        assert data["asked"] == {"kind": "step", "name": "step 5"}
        assert (data["recorded"]["kind"], data["recorded"]["name"]) == ("step", "step 1")
        assert "'step 5'" in outcome.error["message"]
        assert "'step 1'" in outcome.error["message"]
        assert "fork" in outcome.error["hint"]
        # What the hint says helps.
        step = data["step"]
        steps = await steps_of(host, fork.id)
        first = min(found.number for found in steps)
        assert first <= step
        forked = await host.fork(origin.run_id, caller=ME, step=first, current=True)
        assert (await ended(forked)).ok
        assert await state_of(host, "made") == 10


async def test_a_run_that_asks_for_less_than_it_recorded_diverged(tmp_path: Path) -> None:
    async with open_host(tmp_path, {"steps": STEPS}, state="rocksdb") as host:
        origin = await host.cast("steps", {})
        spell(tmp_path, "steps").write_text(STEPS.replace("1, 5", "1, 3"), encoding="utf-8")
        await host.reload()
        outcome = await ended(await host.fork(origin.run_id, caller=ME, current=True))
        assert outcome.error is not None
        assert outcome.error["code"] == "run.diverged"
        assert outcome.error["data"]["asked"] is None
        assert await state_of(host, "made") == 5


async def test_what_cannot_be_forked_is_refused(tmp_path: Path) -> None:
    async with open_host(tmp_path, {"steps": STEPS}, state="rocksdb") as host:
        origin = await host.cast("steps", {})
        with pytest.raises(RunNotFound):
            await host.fork("0" * 36, caller=ME)
        proposal = await host.propose("which?", caller=ME)
        with pytest.raises(RunError):
            await host.fork(proposal.id, caller=ME)
        spell(tmp_path, "steps").unlink()
        await host.reload()
        with pytest.raises(SpellNotFound):
            await host.fork(origin.run_id, caller=ME, current=True)
        assert (await ended(await host.fork(origin.run_id, caller=ME))).output == origin.output


async def test_a_fork_of_a_run_that_asks_does_not_answer_for_the_other(tmp_path: Path) -> None:
    source = WITH_MODULE.replace('local helper = require "lib.helper"\n', "").replace(
        "helper.word()", "ctx.run_id"
    )
    async with open_host(tmp_path, {"with_module": source}, state="rocksdb") as host:
        origin = await host.start("with_module", {})
        await parked(host, origin.id)
        fork = await host.fork(origin.id, caller=ME)
        [theirs], [ours] = await asked(fork), await asked(origin)
        assert theirs.run_id == fork.id
        assert ours.run_id == origin.id
        await fork.answer(True)
        assert (await ended(fork)).output == fork.id
        assert (await origin.record()).state == "input_required"
        await origin.answer(True)
        assert (await ended(origin)).output == origin.id


async def test_a_run_that_is_continued_as_new_keeps_a_small_journal(tmp_path: Path) -> None:
    async with open_host(tmp_path, {"again": AGAIN}, state="rocksdb", runs__history="10") as host:
        handle = await host.start("again", {"n": 50})
        outcome = await ended(handle)
        assert outcome.output == sum(range(51))
        assert (await handle.record()).epoch == 50
        assert len(await read_journal(host.services.archive.store, handle.id)) <= 5
        assert await state_of(host, "done") == 51 * 4
        whole = [event async for event in handle.events()]
        reasons = [event.data.get("reason") for event in whole if event.kind == "resumed"]
        assert reasons == ["continued"] * 50


async def test_a_run_records_only_so_much(tmp_path: Path) -> None:
    spells = {"endless": ENDLESS}
    async with open_host(tmp_path, spells, state="rocksdb", runs__history="10") as host:
        assert (await host.cast("endless", {"times": 10})).ok
        outcome = await host.cast("endless", {"times": 11})
        assert outcome.error is not None
        assert outcome.error["code"] == "limit.history"
        assert outcome.error["data"] == {"limit": "runs.history", "allowed": 10}
        # What did not fit was not done.
        assert await state_of(host, "n") == 20
