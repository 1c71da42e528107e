"""Casts as runs: their events, their children, who sees them, how they stop, what survives."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmspell.clock import ManualClock
from llmspell.errors import (
    RunCanceled,
    RunInterrupted,
    RunNotCancelable,
    RunNotFound,
    RunNotWaiting,
    UsageError,
)
from llmspell.host.host import Host
from llmspell.host.run_interface import RunHandle
from llmspell.runs.record import Event, Run
from llmspell.security.principals import Caller, local_caller
from tests.support.hosts import open_host, project, write_spells
from tests.support.servers import environment

ME = local_caller()
BOB = Caller(principal="bob")
ELSEWHERE = Caller(principal=ME.principal, tenant="elsewhere")

TALKS = """
return Spell.create {
  input = { times = Schema.integer("How often", { default = 3 }) },
  run = function(input, ctx)
    for i = 1, input.times do
      ctx:progress(i, input.times, "step " .. i)
      ctx:log("info", "line " .. i, { n = i })
      ctx:emit("part " .. i)
    end
    return ctx.run_id
  end,
}
"""

WAITS = """
return Spell.create {
  run = function(input, ctx)
    ctx:log("info", "begun")
    sleep(600)
  end,
}
"""

HELLO = "return Spell.create { run = function(input) return 'hello ' .. (input.name or 'you') end }"

PARENT = """
local own = Spell.create { name = "own", run = function(input) return input.n * 2 end }
return Spell.create {
  needs = { tools = { "hello", "fails" } },
  run = function(input)
    local ok = pcall(function() return Spell.get("fails"):cast {} end)
    return { Spell.get("hello"):cast { name = "child" }, own:cast { n = 21 }, ok }
  end,
}
"""

WAITS_FOR_CHILD = """
return Spell.create {
  needs = { tools = { "waits" } },
  run = function() return Spell.get("waits"):cast {} end,
}
"""

RECURSES = """
return Spell.create {
  needs = { tools = { "recurses" } },
  run = function(input) return Spell.get("recurses"):cast { n = (input.n or 0) + 1 } end,
}
"""

SHALLOW = """
local inner = Spell.create { name = "inner", run = function() return 1 end }
local outer = Spell.create { name = "outer", run = function() return inner:cast {} end }
return Spell.create {
  budget = { depth = 1 },
  run = function(input)
    if input.deep then return outer:cast {} end
    return inner:cast {}
  end,
}
"""

INLINE = """
local again
again = Spell.create {
  name = "again",
  run = function(input) return again:cast { n = input.n + 1 } end,
}
local late = Spell.create {
  name = "late",
  budget = { seconds = 5 },
  run = function() sleep(60) return "late" end,
}
return Spell.create {
  run = function(input)
    if input.endless then return again:cast { n = 1 } end
    local ok, problem = pcall(late.cast, late, {})
    return problem.code
  end,
}
"""

MEETS = """
return Spell.create {
  run = function()
    local function side(own, other)
      return function()
        State.shared:set(own, true)
        repeat local met = State.shared:get(other) until met
        return own
      end
    end
    return parallel { side("left", "right"), side("right", "left") }
  end,
}
"""

FLOW = """
local double = function(run) return run.previous.n * 2 end
return Workflow.sequential {
  double,
  Workflow.parallel {
    name = "both",
    branches = {
      more = function(run) return run.previous + 1 end,
      less = function(run) return run.previous - 1 end,
    },
  },
  function(run) return { before = run.previous, both = run.results.both, n = run.input.n } end,
}
"""

ROWS = """
return Workflow.parallel {
  limit = 2,
  function(run) return "a" end,
  function(run) return "b" end,
  function(run) return "c" end,
}
"""

COUNTER = """
return Spell.create {
  input = { scope = Schema.enum { "spell", "session", "user", "shared" } },
  run = function(input)
    local scope = input.scope == "spell" and State or State[input.scope]
    return scope:increment "count"
  end,
}
"""

AGENT = """
local add = Tool.create {
  name = "add",
  description = "Add two numbers.",
  input = { a = Schema.integer(), b = Schema.integer() },
  run = function(input) return { sum = input.a + input.b } end,
}
return Agent.create {
  name = "clerk",
  model = "scripted/clerk.json",
  system = "You add.",
  tools = { add, "hello" },
}
"""

CLERK = [
    {"calls": [{"name": "add", "arguments": {"a": 2, "b": 40}}]},
    {"calls": [{"name": "hello", "arguments": {"name": "clerk"}}]},
    {"text": "It is forty two, and I said hello."},
]

FAILS = 'return Spell.create { run = function() error { code = "x.y", message = "no" } end }'

SPELLS = {
    "talks": TALKS,
    "waits": WAITS,
    "hello": HELLO,
    "fails": FAILS,
    "parent": PARENT,
    "waits_for_child": WAITS_FOR_CHILD,
    "recurses": RECURSES,
    "shallow": SHALLOW,
    "inline": INLINE,
    "meets": MEETS,
    "flow": FLOW,
    "rows": ROWS,
    "counter": COUNTER,
    "clerk": AGENT,
}

# One host for the tests of this module that need none of their own.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Host]:
    root = tmp_path_factory.mktemp("project")
    (root / "clerk.json").write_text(json.dumps(CLERK), encoding="utf-8")
    async with open_host(root, SPELLS) as opened:
        yield opened


async def events_of(handle: RunHandle) -> list[Event]:
    return [event async for event in handle.events()]


async def until_begun(handle: RunHandle) -> None:
    """Return once the spell has written its first line."""
    async for event in handle.events():
        if event.kind == "log":
            return


async def visible(host: Host, caller: Caller = ME) -> dict[str, Run]:
    page = await host.runs(caller=caller, limit=1000)
    return {run.id: run for run in page.runs}


# --- events


async def test_events_have_no_gap_and_the_last_is_the_end(host: Host) -> None:
    async with asyncio.timeout(10):
        handle = await host.start("talks", {"times": 5})
        events = await events_of(handle)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert events[0].data == {"state": "working"}
    assert events[-1].data == {"state": "completed"}
    assert [event.kind for event in events[1:-1]] == ["progress", "log", "part"] * 5
    assert events[1].data == {"done": 1, "total": 5, "message": "step 1"}
    assert events[2].data == {"level": "info", "message": "line 1", "fields": {"n": 1}}
    assert events[3].data == {"text": "part 1"}
    assert [event.at for event in events] == sorted(event.at for event in events)


async def test_a_late_reader_reads_the_same_events_from_the_store(host: Host) -> None:
    async with asyncio.timeout(10):
        handle = await host.start("talks", {})
        live = await events_of(handle)
        late = await host.run(handle.id, caller=ME)
        assert await events_of(late) == live
        assert [event async for event in late.events(after=live[-2].number)] == [live[-1]]
        assert (await late.record()).generation == live[-1].number
        assert (await late.result()).output == handle.id


async def test_a_run_is_in_the_store_before_its_handle_is_given_out(host: Host) -> None:
    async with asyncio.timeout(10):
        handle = await host.start("waits", {})
        assert (await visible(host))[handle.id].state in ("submitted", "working")
        await handle.cancel()


async def test_a_run_without_end_may_say_only_so_much(tmp_path: Path) -> None:
    async with open_host(tmp_path, {"talks": TALKS}, limits__log_events="10") as host:
        outcome = await host.cast("talks", {"times": 100})
    assert outcome.error is not None
    assert outcome.error["code"] == "limit.exceeded"
    assert "10 log lines" in outcome.error["message"]


# --- who sees a run


async def test_a_run_is_seen_by_its_own_principal_only(host: Host) -> None:
    outcome = await host.cast("hello", {}, caller=BOB)
    assert outcome.run_id in await visible(host, BOB)
    for other in (ME, ELSEWHERE, Caller(principal="bob", tenant="elsewhere")):
        assert outcome.run_id not in await visible(host, other)
        with pytest.raises(RunNotFound, match=outcome.run_id):
            await host.run(outcome.run_id, caller=other)


async def test_a_run_under_way_is_not_confirmed_to_others_either(host: Host) -> None:
    async with asyncio.timeout(10):
        handle = await host.start("waits", {}, caller=BOB)
        with pytest.raises(RunNotFound):
            await host.run(handle.id, caller=ME)
        assert (await host.run(handle.id, caller=BOB)).id == handle.id
        await handle.cancel()


async def test_a_run_remembers_how_it_came_about(host: Host) -> None:
    caller = ME.at("mcp", session="s1", message={"client": "test"})
    outcome = await host.cast("hello", {"name": "x"}, caller=caller)
    run = (await visible(host))[outcome.run_id]
    assert (run.door, run.session, run.message) == ("mcp", "s1", {"client": "test"})
    assert (run.spell, run.input, run.output) == ("hello", {"name": "x"}, "hello x")
    published = host.catalogue().get("hello")
    assert published is not None
    assert run.spell_version == published.version


async def test_pages_of_runs_hold_each_once(host: Host) -> None:
    caller = Caller(principal="reader")
    made = {(await host.cast("hello", {}, caller=caller)).run_id for _ in range(5)}
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await host.runs(caller=caller, limit=2, after=cursor)
        assert page.total == 5
        seen += [run.id for run in page.runs]
        cursor = page.next
        if cursor is None:
            break
    assert sorted(seen) == sorted(made)
    with pytest.raises(UsageError):
        await host.runs(caller=caller, after="nonsense")


# --- children


async def test_a_child_is_a_run_of_its_own_and_an_event_of_its_parents(host: Host) -> None:
    async with asyncio.timeout(10):
        handle = await host.start("parent", {})
        outcome = await handle.result()
        events = await events_of(handle)
    assert outcome.output == ["hello child", 42, False]
    begun = [event.data for event in events if event.kind == "cast.started"]
    ended = [event.data for event in events if event.kind == "cast.ended"]
    assert [data["spell"] for data in begun] == ["fails", "hello", "own"]
    assert [data["state"] for data in ended] == ["failed", "completed", "completed"]
    assert [data["run_id"] for data in begun] == [data["run_id"] for data in ended]
    runs = await visible(host)
    for data in begun:
        assert runs[data["run_id"]].parent == handle.id
        assert runs[data["run_id"]].door == "spell"


async def test_an_error_of_a_child_that_nobody_catches_is_its_parents(host: Host) -> None:
    source = "\nSpell.get('fails'):cast {}"
    outcome = await host.cast_source("x.lua", source, {})
    assert outcome.error is not None
    assert outcome.error["run_id"] == outcome.run_id
    assert outcome.error["where"] == "spells/fails.lua:1"
    assert outcome.error["message"] == "no"
    assert outcome.error["data"]["code"] == "x.y"


async def test_casts_nest_no_deeper_than_the_settings_allow(host: Host) -> None:
    async with asyncio.timeout(20):
        outcome = await host.cast("recurses", {})
    assert outcome.error is not None
    assert outcome.error["code"] == "budget.exhausted"
    assert outcome.error["data"]["limit"] == "depth"
    inputs = [run.input for run in (await visible(host)).values() if run.spell == "recurses"]
    assert max(value.get("n", 0) for value in inputs) == 16


async def test_a_spell_may_give_itself_less_depth(host: Host) -> None:
    assert (await host.cast("shallow", {})).output == 1
    error = (await host.cast("shallow", {"deep": True})).error
    assert error is not None
    assert error["data"]["limit"] == "depth"


async def test_spells_of_one_file_nest_no_deeper_than_published_ones(host: Host) -> None:
    async with asyncio.timeout(20):
        error = (await host.cast("inline", {"endless": True})).error
    assert error is not None
    assert error["code"] == "budget.exhausted"
    assert error["data"]["limit"] == "depth"


async def test_a_spell_of_the_same_file_has_a_deadline_of_its_own(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_host(tmp_path, {"inline": INLINE}, clock=clock) as host:
        async with asyncio.timeout(10):
            handle = await host.start("inline", {})
            await clock.sleeper(3)  # two deadlines and the sleep
            await clock.advance(6)
            assert (await handle.result()).output == "limit.wall_clock"


# --- side by side


async def test_functions_run_side_by_side_while_they_wait_for_effects(host: Host) -> None:
    async with asyncio.timeout(10):
        assert (await host.cast("meets", {})).output == ["left", "right"]


async def test_casts_of_the_same_spell_do_not_wait_for_each_other(host: Host) -> None:
    async with asyncio.timeout(20):
        waiting = [await host.start("waits", {}) for _ in range(8)]
        for handle in waiting:
            await until_begun(handle)
        assert (await host.cast("hello", {})).ok
        for handle in waiting:
            await handle.cancel()


async def test_a_workflow_of_lua_functions_gives_each_step_what_came_before(host: Host) -> None:
    async with asyncio.timeout(10):
        handle = await host.start("flow", {"n": 5})
        outcome = await handle.result()
        events = await events_of(handle)
    both = {"less": 9, "more": 11}
    assert outcome.output == {"before": both, "both": both, "n": 5}
    names = [event.data["name"] for event in events if event.kind == "step.ended"]
    assert set(names) >= {"both", "less", "more"}


async def test_steps_side_by_side_give_their_results_in_the_order_of_the_list(
    host: Host,
) -> None:
    assert (await host.cast("rows", {})).output == ["a", "b", "c"]


async def test_an_agent_calls_a_tool_of_its_own_file_and_a_published_one(host: Host) -> None:
    async with asyncio.timeout(10):
        handle = await host.start("clerk", {"prompt": "Add 2 and 40."})
        outcome = await handle.result()
        events = await events_of(handle)
    assert outcome.output == "It is forty two, and I said hello."
    assert outcome.usage.calls == 3
    assert [event.data["label"] for event in events if event.kind == "cast.started"] == [
        "add",
        "hello",
    ]
    said = "".join(
        event.data["text"]
        for event in events
        if event.kind == "model.delta" and event.data.get("answer")
    )
    assert said.endswith("It is forty two, and I said hello.")
    runs = await visible(host)
    outputs = [run.output for run in runs.values() if run.parent == handle.id]
    assert {"sum": 42} in outputs
    assert "hello clerk" in outputs


# --- state


async def test_each_scope_is_shared_by_whom_it_says(host: Host) -> None:
    ann, ann_again = (Caller(principal="ann", session=name) for name in ("one", "two"))
    bea = Caller(principal="bea", session="one")

    async def count(scope: str, *callers: Caller) -> list[Any]:
        return [
            (await host.cast("counter", {"scope": scope}, caller=caller)).output
            for caller in callers
        ]

    assert await count("session", ann, ann, ann_again, bea) == [1, 2, 1, 1]
    assert await count("user", ann, ann_again, bea) == [1, 2, 1]
    assert await count("shared", ann, ann_again, bea) == [1, 2, 3]
    assert await count("spell", ann, ann_again, bea) == [1, 2, 3]
    other = Caller(principal="ann", session="one", tenant="elsewhere")
    for scope in ("session", "user", "shared", "spell"):
        assert await count(scope, other) == [1]


# --- stopping


async def test_cancelling_the_waiter_stops_the_run(host: Host) -> None:
    caller = Caller(principal="waiter")
    async with asyncio.timeout(10):
        task = asyncio.get_running_loop().create_task(host.cast("waits", {}, caller=caller))
        await saved(host, caller)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (run,) = (await visible(host, caller)).values()
    assert run.state == "canceled"
    assert run.error is not None
    assert run.error["code"] == RunCanceled.code


async def saved(host: Host, caller: Caller) -> None:
    """Return once a run of this caller is in the store: it is, as soon as it acts."""
    # Every look gives the loop to whatever else runs on it.
    while not (await host.runs(caller=caller)).total:
        await asyncio.wait({asyncio.ensure_future(asyncio.sleep(0))})


async def test_a_handle_stops_its_run_and_everything_it_began(host: Host) -> None:
    caller = Caller(principal="stopper")
    async with asyncio.timeout(10):
        handle = await host.start("waits_for_child", {}, caller=caller)
        async for event in handle.events():
            if event.kind == "cast.started":
                break
        run = await handle.cancel()
        assert run.state == "canceled"
        assert (await handle.result()).state == "canceled"
        states = {run.spell: run.state for run in (await visible(host, caller)).values()}
        assert states["waits_for_child"] == "canceled"
        assert states.get("waits", "canceled") == "canceled"
        assert [event.number for event in await events_of(handle)][-1] == run.generation


async def test_cancelling_twice_is_cancelling_once(host: Host) -> None:
    async with asyncio.timeout(10):
        handle = await host.start("waits", {})
        await until_begun(handle)
        first, second = await asyncio.gather(handle.cancel(), handle.cancel())
        assert first.state == second.state == "canceled"
        assert (await handle.cancel()).state == "canceled"
        late = await host.run(handle.id, caller=ME)
        assert (await late.cancel()).state == "canceled"
        ends = [event for event in await events_of(late) if event.data.get("state") == "canceled"]
        assert len(ends) == 1


async def test_a_run_is_stopped_even_before_it_took_its_first_step(host: Host) -> None:
    async with asyncio.timeout(10):
        handle = await host.start("waits", {})
        assert (await handle.cancel()).state == "canceled"
        assert (await handle.result()).state == "canceled"
        assert (await visible(host))[handle.id].state == "canceled"


async def test_a_run_that_has_ended_cannot_be_cancelled(host: Host) -> None:
    async with asyncio.timeout(10):
        handle = await host.start("hello", {})
        await handle.result()
        with pytest.raises(RunNotCancelable, match="completed"):
            await handle.cancel()
        with pytest.raises(RunNotCancelable, match="completed"):
            await (await host.run(handle.id, caller=ME)).cancel()


async def test_who_waits_for_a_run_that_another_stops_is_told(host: Host) -> None:
    caller = Caller(principal="told")
    async with asyncio.timeout(10):
        task = asyncio.get_running_loop().create_task(host.cast("waits", {}, caller=caller))
        await saved(host, caller)
        (run_id,) = await visible(host, caller)
        await (await host.run(run_id, caller=caller)).cancel()
        outcome = await task
    assert (outcome.state, outcome.run_id) == ("canceled", run_id)


async def test_leaving_a_handle_does_not_stop_its_run(host: Host) -> None:
    async with asyncio.timeout(10):
        handle = await host.start("waits", {})
        waiter = asyncio.get_running_loop().create_task(handle.result())
        await until_begun(handle)
        waiter.cancel()
        await asyncio.wait([waiter])
        assert (await handle.record()).state == "working"
        await handle.cancel()


# --- a run that waits for the choice of a spell


async def test_a_proposal_waits_and_is_carried_on_by_a_cast(host: Host) -> None:
    async with asyncio.timeout(10):
        proposal = await host.propose("which spell?", caller=ME, data={"text": "hi"})
        outcome = await proposal.result()
        assert (outcome.state, outcome.spell) == ("input_required", "")
        handle = await host.start("hello", {"name": "x"}, proposal=proposal.id, caller=ME)
        assert handle.id == proposal.id
        assert (await handle.result()).output == "hello x"
        events = await events_of(handle)
    states = [event.data["state"] for event in events if event.kind == "state"]
    assert states == ["input_required", "working", "completed"]
    assert [event.number for event in events] == list(range(1, len(events) + 1))


async def test_a_proposal_is_answered_once(host: Host) -> None:
    async with asyncio.timeout(10):
        proposal = await host.propose("which spell?", caller=ME)
        first, second = await asyncio.gather(
            host.start("hello", {}, proposal=proposal.id, caller=ME),
            host.start("hello", {}, proposal=proposal.id, caller=ME),
            return_exceptions=True,
        )
        assert not isinstance(first, BaseException)
        assert isinstance(second, RunNotWaiting)
        assert (await first.result()).ok
        with pytest.raises(RunNotWaiting):
            await host.start("hello", {}, proposal=proposal.id, caller=ME)


async def test_a_proposal_may_be_cancelled_and_belongs_to_its_caller(host: Host) -> None:
    async with asyncio.timeout(10):
        proposal = await host.propose("which spell?", caller=BOB)
        with pytest.raises(RunNotFound):
            await host.start("hello", {}, proposal=proposal.id, caller=ME)
        runs = await asyncio.gather(proposal.cancel(), proposal.cancel())
        assert [run.state for run in runs] == ["canceled", "canceled"]
        with pytest.raises(RunNotWaiting):
            await host.start("hello", {}, proposal=proposal.id, caller=BOB)


async def test_an_input_that_does_not_fit_leaves_the_proposal_waiting(host: Host) -> None:
    async with asyncio.timeout(10):
        proposal = await host.propose("which spell?", caller=ME)
        with pytest.raises(Exception, match="does not fit"):
            await host.start("counter", {"scope": "x"}, proposal=proposal.id, caller=ME)
        handle = await host.start("hello", {}, proposal=proposal.id, caller=ME)
        assert (await handle.result()).ok


# --- a restart


async def test_state_and_runs_are_there_after_a_restart(tmp_path: Path) -> None:
    spells = {"counter": COUNTER, "hello": HELLO}
    async with open_host(tmp_path, spells, state="rocksdb") as host:
        assert (await host.cast("counter", {"scope": "shared"})).output == 1
        outcome = await host.cast("hello", {})
        proposal = await host.propose("which?", caller=ME)
    async with open_host(tmp_path, spells, state="rocksdb") as host, asyncio.timeout(10):
        assert (await host.cast("counter", {"scope": "shared"})).output == 2
        again = await host.run(outcome.run_id, caller=ME)
        assert await again.result() == outcome
        assert [event.number async for event in again.events()] == [1, 2]
        handle = await host.start("hello", {}, proposal=proposal.id, caller=ME)
        assert (await handle.result()).ok


async def test_closing_leaves_what_is_under_way_to_the_next_owner(tmp_path: Path) -> None:
    async with open_host(tmp_path, {"waits": WAITS}, state="rocksdb") as host:
        begun = await host.start("waits", {})
        async with asyncio.timeout(10):
            await until_begun(begun)
        unbegun = await host.start("waits", {})
    for handle in (begun, unbegun):
        async with asyncio.timeout(10):
            with pytest.raises(RunInterrupted, match="shut down") as raised:
                await handle.result()
        assert raised.value.run_id == handle.id
    async with open_host(tmp_path, {"waits": WAITS}, state="rocksdb") as host:
        for handle in (begun, unbegun):
            again = await host.run(handle.id, caller=ME)
            async with asyncio.timeout(10):
                await until_begun(again)
            assert (await again.record()).state == "working"
            assert (await again.cancel()).state == "canceled"


KILLED = """
import asyncio, sys
from pathlib import Path
from llmspell.host.host import Host
from tests.support.hosts import project

async def main():
    opened = project(Path(sys.argv[1]))
    async with Host.open(opened, watch=False) as host:
        assert (await host.cast("counter", {"scope": "shared"})).output == 1
        handle = await host.start("parent", {})
        async for event in handle.events():
            if event.kind == "cast.started":
                print(handle.id, event.data["run_id"], flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_the_next_owner_goes_on_with_the_runs_a_killed_process_left(tmp_path: Path) -> None:
    parent = WAITS_FOR_CHILD
    spells = {"waits": WAITS, "parent": parent, "counter": COUNTER}
    write_spells(tmp_path, spells)
    roots = environment()
    roots["PYTHONPATH"] += ":" + str(Path(__file__).parents[3])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        KILLED,
        str(tmp_path),
        env=roots,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        line = (await process.stdout.readline()).decode()
        process.send_signal(signal.SIGKILL)
        await process.wait()
    run_id, child_id = line.split()
    async with Host.open(project(tmp_path), watch=False) as host, asyncio.timeout(10):
        handle = await host.run(run_id, caller=ME)
        async for event in handle.events():
            if event.kind == "resumed":
                break
        assert (await host.cast("counter", {"scope": "shared"})).output == 2
        assert (await handle.cancel()).state == "canceled"
        child = await host.run(child_id, caller=ME)
        assert (await child.result()).state == "canceled"
        events = await events_of(handle)
        assert [event.number for event in events] == list(range(1, len(events) + 1))
        assert [e.data["run_id"] for e in events if e.kind == "cast.started"] == [child_id]


async def test_an_end_that_was_written_is_there_after_the_process_died_at_once(
    tmp_path: Path,
) -> None:
    write_spells(tmp_path, {"counter": COUNTER})
    code = KILLED.replace("opened = ", "import llmspell.failpoints as f; opened = ").replace(
        "async with Host.open(opened, watch=False) as host:",
        "async with Host.open(opened, watch=False) as host:\n        f.arm('run.after_end:kill')",
    )
    roots = environment()
    roots["PYTHONPATH"] += ":" + str(Path(__file__).parents[3])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(tmp_path), env=roots
    )
    async with asyncio.timeout(20):
        assert await process.wait() == -signal.SIGKILL
    async with Host.open(project(tmp_path), watch=False) as host:
        (run,) = (await visible(host)).values()
        assert (run.state, run.output) == ("completed", 1)
