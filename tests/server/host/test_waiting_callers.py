"""Callers that wait for a run: they may join one, keep it, leave it, or be gone for a while."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from llmspell.errors import IdempotencyConflict, RunNotFound
from llmspell.host.host import Host
from llmspell.host.waiting import Waiting
from llmspell.security.principals import Caller, local_caller
from tests.support.hosts import open_host

# It counts, then waits until the key "go" is there; so the tests decide when it ends.
GATED = """
return Spell.create {{
  input = {{ n = Schema.integer("N", {{ default = 1 }}) }}, {options}
  run = function(input)
    local count = State.shared:increment "begun"
    while not State.shared:get "go" do
      State.shared:watch("go", {{ timeout = "5s" }})
    end
    return count
  end,
}}
"""

SPELLS = {
    "plain": GATED.format(options=""),
    "joins": GATED.format(options="join = true,"),
    "detached": GATED.format(options="detached = true,"),
    "asks": """
return Spell.create { input = {}, run = function(_, ctx)
  local answers = parallel {
    function() return ctx:ask { message = "one?" }.ok end,
    function() return ctx:ask { message = "two?" }.ok end,
  }
  return answers
end }
""",
    "opens": """
return Spell.create { input = {}, run = function() State.shared:set("go", true) end }
""",
    "reached": """
return Spell.create { input = { n = Schema.integer "N" }, run = function(input)
  while (State.shared:get "begun" or 0) < input.n do
    State.shared:watch("begun", { timeout = "5s" })
  end
end }
""",
    "quick": "return Spell.create { input = {}, run = function() return 7 end }",
}
ME = local_caller()
OTHER = Caller(principal="other")


async def until_begun(host: Host, count: int) -> None:
    async with asyncio.timeout(10):
        assert (await host.cast("reached", {"n": count})).ok


async def state_of(host: Host, run_id: str) -> str:
    return (await (await host.run(run_id, caller=ME)).record()).state


async def gone(host: Host, waiting: Waiting) -> bool:
    try:
        return (await (await host.run(waiting.id, caller=ME)).record()).state == "canceled"
    except RunNotFound:
        return True


async def test_the_same_casts_at_the_same_time_share_one_run_where_the_spell_joins(
    tmp_path: Path,
) -> None:
    async with open_host(tmp_path, SPELLS) as host, asyncio.timeout(20):
        first = await host.begin("joins", {"n": 1}, caller=ME)
        await until_begun(host, 1)
        second = await host.begin("joins", {}, caller=ME)  # the default is the same input
        waiter = asyncio.ensure_future(host.cast("joins", {}, caller=ME))
        started = await host.start("joins", {}, caller=ME)
        assert {second.id, started.id} == {first.id}
        other_input = await host.begin("joins", {"n": 2}, caller=ME)
        other_person = await host.begin("joins", {}, caller=OTHER)
        other_session = await host.begin("joins", {}, caller=ME.at("mcp", session="s2"))
        ids = {first.id, other_input.id, other_person.id, other_session.id}
        assert len(ids) == 4
        await until_begun(host, 4)
        await host.cast("opens", {})
        assert (await waiter).output == (await first.result()).output == 1
        assert (await second.result()).run_id == first.id


async def test_casts_with_keys_of_their_own_share_a_run_too_and_each_key_finds_it_again(
    tmp_path: Path,
) -> None:
    """A bridge gives each request a key, so that a repeated one is not cast twice."""
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host, asyncio.timeout(20):
        first = await host.begin("joins", {}, caller=ME, key="one")
        await until_begun(host, 1)
        second = await host.begin("joins", {}, caller=ME, key="two")
        third = await host.begin("joins", {}, caller=ME)
        assert {second.id, third.id} == {first.id}
        with pytest.raises(IdempotencyConflict):
            await host.begin("joins", {"n": 2}, caller=ME, key="two")
        await host.cast("opens", {})
        assert (await second.result()).output == 1
        assert (await host.cast("joins", {}, caller=ME, key="three")).run_id != first.id
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host, asyncio.timeout(20):
        for key in ("one", "two"):
            assert (await host.cast("joins", {}, caller=ME, key=key)).run_id == first.id


async def test_after_a_shared_run_has_ended_the_next_cast_is_its_own(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host, asyncio.timeout(20):
        await host.cast("opens", {})
        first, second = await host.cast("joins", {}), await host.cast("joins", {})
        assert first.run_id != second.run_id
        assert (first.output, second.output) == (1, 2)
        crowd = await asyncio.gather(*(host.cast("joins", {}) for _ in range(5)))
        assert {outcome.output for outcome in crowd} == {3}


async def test_who_leaves_a_shared_run_detaches_only_himself(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS) as host, asyncio.timeout(20):
        first = await host.begin("joins", {}, caller=ME)
        second = await host.begin("joins", {}, caller=ME)
        await until_begun(host, 1)
        await first.leave()
        await first.leave()  # once more is nothing
        assert await state_of(host, second.id) == "working"
        await second.leave()
        assert await gone(host, second)


async def test_a_run_that_its_only_caller_leaves_is_stopped(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS) as host, asyncio.timeout(20):
        waiting = await host.begin("plain", {}, caller=ME)
        await until_begun(host, 1)
        await waiting.leave()
        assert await gone(host, waiting)


async def test_a_detached_spell_goes_on_without_its_callers(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS) as host, asyncio.timeout(20):
        waiting = await host.begin("detached", {}, caller=ME)
        cast = asyncio.ensure_future(host.cast("detached", {}, caller=ME))
        await until_begun(host, 2)
        await waiting.leave()
        cast.cancel()
        await asyncio.wait([cast])
        await host.cast("opens", {})
        runs = [run for run in (await host.runs(caller=ME)).runs if run.spell == "detached"]
        assert len(runs) == 2
        for run in runs:
            assert (await (await host.run(run.id, caller=ME)).result()).ok


async def test_a_kept_run_goes_on_and_a_restart_does_not_lose_it(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host, asyncio.timeout(20):
        waiting = await host.begin("plain", {}, caller=ME)
        await until_begun(host, 1)
        await waiting.keep()
        await waiting.leave()
        assert await state_of(host, waiting.id) == "working"
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host, asyncio.timeout(20):
        await host.cast("opens", {})
        again = await host.wait_for(waiting.id, caller=ME)
        assert (await again.result()).output == 1


async def test_who_lost_the_connection_may_come_back_and_stop_the_run(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS) as host, asyncio.timeout(20):
        lost = await host.begin("plain", {}, caller=ME, key="k")
        await until_begun(host, 1)
        await lost.let_go()
        assert await state_of(host, lost.id) == "working"
        back = await host.begin("plain", {}, caller=ME, key="k")
        assert back.id == lost.id
        with pytest.raises(IdempotencyConflict):
            await host.begin("plain", {"n": 5}, caller=ME, key="k")
        await back.leave()
        assert await gone(host, back)


async def test_questions_asked_side_by_side_come_together(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS) as host, asyncio.timeout(20):
        waiting = await host.begin("asks", {}, caller=ME)
        outcome = await waiting.settled()
        assert sorted(question.message for question in outcome.questions) == ["one?", "two?"]
        await waiting.leave()  # the run waits for a person: nobody has to wait for it
        assert await state_of(host, waiting.id) == "input_required"
        for question in outcome.questions:
            await waiting.answer(True, question=question.id)
        again = await host.wait_for(waiting.id, caller=ME)
        assert (await again.settled()).output == [True, True]


async def test_a_run_that_has_ended_can_be_waited_for_and_kept_and_left(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS) as host, asyncio.timeout(20):
        waiting = await host.begin("quick", {}, caller=ME)
        assert (await waiting.settled()).output == 7
        await waiting.keep()
        await waiting.leave()
        again = await host.wait_for(waiting.id, caller=ME)
        assert (await again.result()).output == 7
        assert await again.last("progress") is None
        await again.leave()


async def test_who_may_only_see_a_run_waits_no_longer_than_told_and_stops_nothing(
    tmp_path: Path,
) -> None:
    async with open_host(tmp_path, SPELLS) as host, asyncio.timeout(20):
        started = await host.start("plain", {}, caller=ME)
        await until_begun(host, 1)
        reader = replace(ME, scopes=frozenset({"read"}))
        seen = await host.wait_for(started.id, caller=reader)
        with pytest.raises(TimeoutError):
            await seen.settled(until=asyncio.get_running_loop().time())
        await seen.leave()
        assert await state_of(host, started.id) == "working"
        await host.cast("opens", {})
        assert (await seen.settled()).output == 1
