"""Idempotency keys: the same key gives the same run, whatever becomes of the owner meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from llmspell.clock import ManualClock
from llmspell.errors import IdempotencyConflict, InputInvalid
from llmspell.security.principals import Caller
from tests.durability.following import ME, ended, parked, records, until
from tests.support.hosts import open_host, write_spells
from tests.support.servers import ROOT, environment

COUNTS = """
return Spell.create {
  input = { by = Schema.integer("By", { default = 1 }) },
  run = function(input) return State.shared:increment("count", input.by) end,
}
"""

PURE = "return Spell.create { input = {}, run = function(_, ctx) return ctx.run_id end }"

NAPS = """
return Spell.create {
  input = {},
  run = function()
    State.shared:increment "count"
    sleep "1h"
    return State.shared:increment "count"
  end,
}
"""

SPELLS = {"counts": COUNTS, "pure": PURE, "naps": NAPS}
DAY = 86_400.0


async def test_the_same_key_twice_at_once_is_one_run(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        outcomes = await asyncio.gather(*(host.cast("counts", {}, key="k") for _ in range(16)))
        assert {outcome.output for outcome in outcomes} == {1}
        assert len({outcome.run_id for outcome in outcomes}) == 1
        handles = await asyncio.gather(*(host.start("counts", {}, key="s") for _ in range(16)))
        assert len({handle.id for handle in handles}) == 1
        assert {(await ended(handle)).output for handle in handles} == {2}
        started, casted = await asyncio.gather(
            host.start("counts", {}, key="m"), host.cast("counts", {}, key="m")
        )
        assert (casted.run_id, casted.output) == (started.id, 3)
        assert (await host.cast("counts", {"by": 0})).output == 3


async def test_the_key_of_a_run_that_has_ended_gives_its_result(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        first = await host.cast("counts", {}, key="k")
        assert await host.cast("counts", {}, key="k") == first
        handle = await host.start("counts", {}, key="k")
        assert await handle.result() == first
        # The default of the schema is the same input.
        assert await host.cast("counts", {"by": 1}, key="k") == first
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        assert await host.cast("counts", {}, key="k") == first
        assert (await host.cast("counts", {}, key="other")).output == 2


async def test_the_key_of_a_run_that_did_nothing_counts_too(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        first = await host.cast("pure", {}, key="k")
        assert (await host.cast("pure", {}, key="k")).run_id == first.run_id
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        assert (await host.cast("pure", {}, key="k")).run_id == first.run_id


async def test_a_key_of_another_input_is_a_conflict_that_names_the_run(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        first = await host.cast("counts", {}, key="k")
        for _ in range(2):
            with pytest.raises(IdempotencyConflict) as refused:
                await host.cast("counts", {"by": 2}, key="k")
            assert refused.value.data["run_id"] == first.run_id
        with pytest.raises(IdempotencyConflict):
            await host.start("counts", {"by": 2}, key="k")
        outcomes = await asyncio.gather(
            *(host.cast("counts", {"by": by}, key="new") for by in (10, 20)),
            return_exceptions=True,
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == [
            "IdempotencyConflict",
            "Outcome",
        ]
        assert len(await records(host)) == 2


async def test_a_key_leads_to_its_run_also_when_the_spell_was_edited_meanwhile(
    tmp_path: Path,
) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        first = await host.cast("counts", {}, key="k")
        write_spells(tmp_path, {"counts": f"-- Edited.\n{COUNTS}"})
        before = host.catalogue().get("counts")
        assert (await host.reload()).get("counts") != before
        again = await host.cast("counts", {}, key="k")
        assert (again.run_id, again.output) == (first.run_id, 1)


async def test_a_key_leads_to_its_run_also_when_its_input_would_not_fit_any_more(
    tmp_path: Path,
) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        first = await host.cast("counts", {"by": 2}, key="k")
        stricter = COUNTS.replace("{ default = 1 }", "{ minimum = 5 }")
        write_spells(tmp_path, {"counts": stricter})
        await host.reload()
        again = await host.cast("counts", {"by": 2}, key="k")
        assert (again.run_id, again.output) == (first.run_id, 2)
        with pytest.raises(InputInvalid):
            await host.cast("counts", {"by": 2}, key="another")


async def test_a_key_belongs_to_its_caller_session_and_spell(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        callers = [
            ME,
            Caller(principal="ann"),
            Caller(principal="ann", session="other"),
            Caller(principal="ann", tenant="elsewhere"),
        ]
        ids = [(await host.cast("counts", {}, caller=each, key="k")).run_id for each in callers]
        ids.append((await host.cast("pure", {}, key="k")).run_id)
        assert len(set(ids)) == 5


async def test_the_key_of_a_parked_run_leads_to_it_also_after_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_host(tmp_path, SPELLS, state="rocksdb", clock=clock) as host:
        handle = await host.start("naps", {}, key="k")
        await parked(host, handle.id)
        assert (await host.start("naps", {}, key="k")).id == handle.id
    async with open_host(tmp_path, SPELLS, state="rocksdb", clock=clock) as host:
        again = await host.start("naps", {}, key="k")
        assert again.id == handle.id
        waiting = asyncio.ensure_future(host.cast("naps", {}, key="k"))
        await asyncio.sleep(0)
        await clock.advance(3601)
        async with asyncio.timeout(10):
            outcome = await waiting
        assert (outcome.run_id, outcome.output) == (handle.id, 2)
        assert len(await records(host)) == 1


async def test_a_key_is_free_again_after_a_day(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_host(tmp_path, SPELLS, state="rocksdb", clock=clock) as host:
        first = await host.cast("counts", {}, key="k")
        clock.step(DAY - 1)
        assert await host.cast("counts", {}, key="k") == first
        await until(lambda: not host.busy, "the cast has ended in all its parts")
        clock.step(2)
        second = await host.cast("counts", {"by": 4}, key="k")
        assert second.output == 5
        assert await host.cast("counts", {"by": 4}, key="k") == second


async def killed_at(root: Path, failpoint: str, *, spell: str, key: str) -> None:
    """Cast in a process of its own, which is killed there."""
    roots = environment()
    roots["PYTHONPATH"] += os.pathsep + str(ROOT)
    command = (sys.executable, "-m", "tests.durability.caster", str(root), spell, key, failpoint)
    process = await asyncio.create_subprocess_exec(*command, env=roots)
    async with asyncio.timeout(20):
        assert await process.wait() == -signal.SIGKILL, "it was not killed there"


@pytest.mark.parametrize(
    "point",
    [
        "state.after_write:kill@1",  # the run was recorded
        "state.after_write:kill@2",  # the effect was recorded, with what it wrote
        "state.after_write:kill@3",  # the end was recorded
        "state.before_sync:kill@1",
        "run.after_end:kill",
    ],
)
async def test_a_kill_on_the_way_to_the_answer_makes_no_second_run(
    tmp_path: Path, point: str
) -> None:
    write_spells(tmp_path, SPELLS)
    await killed_at(tmp_path, point, spell="counts", key="k")
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        async with asyncio.timeout(10):
            again, same = await asyncio.gather(
                host.cast("counts", {}, key="k"), host.cast("counts", {}, key="k")
            )
        assert again.output == 1
        assert same == again
        assert (await host.cast("counts", {"by": 0})).output == 1
        assert len(await records(host)) == 2
