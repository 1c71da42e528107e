"""Questions: whoever asks below, the root is answered; and who waits for a person costs nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from llmspell.clock import ManualClock
from llmspell.errors import AskInvalid, RunNotWaiting
from llmspell.host.handles import LiveHandle
from llmspell.host.host import Host
from llmspell.runtime.lua.engine import LuaEngine
from tests.durability.following import ME, SECONDS, asked, child_of, ended, parked, records, until
from tests.support.hosts import open_host

HOUR = 3600.0

ASKS = """
return Spell.create {
  input = { what = Schema.string("What", { default = "a lamp" }) },
  run = function(input, ctx)
    local answer = ctx:ask {
      message = "Order " .. input.what .. "?",
      schema = {
        ok = Schema.boolean(),
        count = Schema.integer("How many", { default = 1, min = 1 }),
      },
    }
    return { ordered = answer.ok, count = answer.count }
  end,
}
"""

ABOVE = """
return Spell.create {
  needs = { tools = { "asks" } },
  run = function(input, ctx)
    State.shared:increment "begun"
    local ok, result = pcall(function() return Spell.get("asks"):cast { what = "a chair" } end)
    return { ok = ok, result = ok and result or { code = result.code } }
  end,
}
"""

CLERK = """
local buy = Tool.create {
  name = "buy",
  description = "Buy something.",
  input = { what = Schema.string() },
  run = function(input, ctx)
    local answer = ctx:ask { message = "Buy " .. input.what .. "?" }
    State.shared:increment "bought"
    return { bought = answer.ok }
  end,
}
local clerk = Agent.create {
  name = "clerk", model = "scripted/clerk.json", system = "You buy.", tools = { buy },
}
return Spell.create {
  run = function(input, ctx) return clerk:ask "Buy a lamp." end,
}
"""

CLERKS_LINES: list[Any] = [
    {"calls": [{"name": "buy", "arguments": {"what": "a lamp"}}]},
    {"text": "It is bought."},
]

TWO = """
return Spell.create {
  run = function(input, ctx)
    local function side(message)
      return function()
        return ctx:ask { message = message, schema = { side = Schema.string() } }.side
      end
    end
    return parallel { side "Left?", side "Right?" }
  end,
}
"""

SPELLS = {"asks": ASKS, "above": ABOVE, "clerk": CLERK, "two": TWO}


def workers(host: Host) -> list[int]:
    """Return the process ids of the workers scripts run in."""
    assert isinstance(host.engine, LuaEngine)
    return host.engine.worker_pids


async def test_a_question_of_a_child_is_its_roots_too_and_is_answered_there(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        handle = await host.start("above", {})
        [question] = await asked(handle)
        outcome = await handle.result()
        child = await child_of(host, handle.id)
        assert (outcome.state, child.state) == ("input_required", "input_required")
        assert question.message == "Order a chair?"
        assert question.run_id == child.id
        await parked(host, handle.id)
        await handle.answer({"ok": True, "count": 3})
        outcome = await ended(handle)
        assert outcome.output == {"ok": True, "result": {"ordered": True, "count": 3}}
        assert (await child_of(host, handle.id)).state == "completed"
        assert (await host.cast("above", {})).state == "input_required"


async def test_who_follows_a_child_sees_its_end_through_its_parking(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        handle = await host.start("above", {})
        await asked(handle)
        child = await child_of(host, handle.id)
        early = await host.run(child.id, caller=ME)
        followers = [asyncio.ensure_future(ended(early))]
        await parked(host, handle.id)
        followers.append(asyncio.ensure_future(ended(await host.run(child.id, caller=ME))))
        await asyncio.sleep(0)
        assert not any(follower.done() for follower in followers)
        await handle.answer({"ok": True})
        for outcome in await asyncio.gather(*followers):
            assert outcome.state == "completed"
        assert (await ended(handle)).ok


async def test_a_question_of_an_agents_tool_is_answered_at_the_root_and_asked_once(
    tmp_path: Path,
) -> None:
    (tmp_path / "clerk.json").write_text(json.dumps(CLERKS_LINES), encoding="utf-8")
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        handle = await host.start("clerk", {})
        [question] = await asked(handle)
        assert question.message == "Buy a lamp?"
        child = await child_of(host, handle.id)
        assert (child.spell, child.state) == ("buy", "input_required")
        assert (await handle.record()).state == "input_required"
        await parked(host, handle.id)
        await handle.answer(True)
        outcome = await ended(handle)
        assert outcome.output == "It is bought."
        assert outcome.usage.calls == 2
        assert (await child_of(host, handle.id)).output == {"bought": True}
        events = [event async for event in handle.events()]
        asked_of = [event.data["message"] for event in events if event.kind == "question"]
        assert asked_of == ["Buy a lamp?"]
        calls = [event for event in events if event.kind == "model.started"]
        assert len(calls) == 2


@pytest.mark.parametrize("is_parked", [False, True])
async def test_a_question_that_is_declined_is_an_error_that_can_be_caught(
    tmp_path: Path, is_parked: bool
) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        handle = await host.start("above", {})
        await asked(handle)
        if is_parked:
            await parked(host, handle.id)
        await handle.answer(None, action="decline")
        outcome = await ended(handle)
        assert outcome.output == {"ok": False, "result": {"code": "ask.declined"}}
        child = await child_of(host, handle.id)
        assert child.state == "failed"
        assert child.error is not None
        assert child.error["code"] == "ask.declined"


async def test_a_question_that_nobody_answers_expires(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_host(tmp_path, SPELLS, state="rocksdb", clock=clock) as host:
        handle = await host.start("above", {})
        [question] = await asked(handle)
        assert question.expires_at == pytest.approx(clock.time() + 24 * HOUR)
        await parked(host, handle.id)
        await clock.advance(24 * HOUR + 1)
        outcome = await ended(handle)
        assert outcome.output == {"ok": False, "result": {"code": "ask.expired"}}
        assert (await handle.record()).questions == []
        with pytest.raises(RunNotWaiting):
            await handle.answer(True)


async def test_two_questions_at_once_are_answered_by_their_ids_in_any_order(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        handle = await host.start("two", {})
        questions = {question.message: question.id for question in await asked(handle, 2)}
        await parked(host, handle.id)
        with pytest.raises(AskInvalid, match="several"):
            await handle.answer("west")
        await handle.answer("east", question=questions["Right?"])
        [left] = (await handle.record()).questions
        assert left.message == "Left?"
        with pytest.raises(RunNotWaiting):
            await handle.answer("again", question=questions["Right?"])
        await parked(host, handle.id)
        await handle.answer("west", question=questions["Left?"])
        assert (await ended(handle)).output == ["west", "east"]


@pytest.mark.parametrize("wrong", [{"ok": "perhaps"}, {"ok": True, "count": 0}, {}, True])
async def test_a_wrong_answer_is_refused_and_the_question_stays_open(
    tmp_path: Path, wrong: Any
) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        handle = await host.start("asks", {})
        [question] = await asked(handle)
        with pytest.raises(AskInvalid) as refused:
            await handle.answer(wrong)
        assert refused.value.code == "ask.invalid"
        assert (await handle.record()).questions == [question]
        assert (await handle.record()).state == "input_required"
        await handle.answer({"ok": True})
        assert (await ended(handle)).output == {"ordered": True, "count": 1}


async def test_a_question_is_answered_once_although_two_answer(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        handle = await host.start("above", {})
        await asked(handle)
        await parked(host, handle.id)
        answers = await asyncio.gather(
            *(handle.answer({"ok": True, "count": count}) for count in (1, 2, 3)),
            return_exceptions=True,
        )
        refused = [answer for answer in answers if isinstance(answer, BaseException)]
        assert [type(answer) for answer in refused] == [RunNotWaiting, RunNotWaiting]
        outcome = await ended(handle)
        assert outcome.output["result"]["count"] in (1, 2, 3)


@pytest.mark.parametrize("restarted", [False, True])
async def test_cancelling_a_parked_tree_ends_all_of_it(tmp_path: Path, restarted: bool) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        run_id = (await host.start("above", {})).id
        await parked(host, run_id)
        if not restarted:
            handle = await host.run(run_id, caller=ME)
            assert (await handle.cancel()).state == "canceled"
            assert {run.state for run in (await records(host)).values()} == {"canceled"}
            assert (await handle.record()).questions == []
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        if restarted:
            handle = await host.run(run_id, caller=ME)
            assert (await handle.record()).questions
            assert (await handle.cancel()).state == "canceled"
        runs = await records(host)
        assert [run.state for run in runs.values()] == ["canceled", "canceled"]
        assert not host.busy


async def test_a_tree_that_is_cancelled_while_it_is_being_parked_ends(tmp_path: Path) -> None:
    async with open_host(tmp_path, SPELLS, state="rocksdb") as host:
        for number in range(8):
            handle = await host.start("above", {})
            assert isinstance(handle, LiveHandle)
            await asked(handle)
            if number % 2:
                await until(
                    lambda handle=handle: handle.casting is None or handle.casting.leaving,
                    "it is left",
                )
            async with asyncio.timeout(SECONDS):
                first, second = await asyncio.gather(handle.cancel(), handle.cancel())
            assert (first.state, second.state) == ("canceled", "canceled")
        assert {run.state for run in (await records(host)).values()} == {"canceled"}
        assert not host.busy


async def test_a_parked_run_holds_no_process_and_no_task(tmp_path: Path) -> None:
    async with open_host(
        tmp_path,
        SPELLS,
        state="rocksdb",
        runtime__warm_workers="0",
        runtime__idle_workers="0",
    ) as host:
        # What stays is there after the first; from then on nothing is added.
        first = await host.start("above", {})
        await parked(host, first.id)
        await until(lambda: not workers(host), "the workers of the first have ended")
        tasks = len(asyncio.all_tasks())
        handles = [await host.start("above", {}) for _ in range(8)]
        for handle in handles:
            await parked(host, handle.id)
        await until(lambda: not workers(host), "no worker is left")
        await until(lambda: len(asyncio.all_tasks()) <= tasks, "no task is left")
        assert not host.busy
        assert not host.services.live
        for handle in handles:
            await handle.answer({"ok": True})
        for handle in handles:
            assert (await ended(handle)).ok
