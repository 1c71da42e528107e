"""Forks: from every recorded step a run goes on to the same end, repeating nothing before it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from llmspell.host.host import Host
from llmspell.runs.record import Outcome
from llmspell.security.principals import local_caller
from tests.support.hosts import open_host

ME = local_caller()

WORK = """
local writer = Agent.create { name = "writer" }
local inner = Spell.create {
  name = "inner",
  input = { n = Schema.integer "Number" },
  run = function(input) return State.shared:increment("inner", 0) + input.n end,
}
return Spell.create {
  name = "work",
  input = {},
  needs = { tools = { "child" } },
  run = function(_, ctx)
    local seen = {}
    local function did(what) seen[#seen + 1] = what end
    did(writer:ask "one")
    local results = parallel {
      function()
        sleep(0.02)
        did "a"
        return parallel { function() return writer:ask "a1" end, function() return 2 end }
      end,
      function() did "b" local text = writer:ask "b" did "b2" return text end,
      function() local n = inner:cast { n = 3 } did "c" return n end,
    }
    local ok, problem = pcall(parallel, {
      function() sleep(0.03) writer:ask "never" end,
      function() writer:ask "soon" error "enough" end,
    })
    did(tostring(problem):find("enough", 1, true) ~= nil)
    did(ctx:step("think", function() return #writer:ask "thought" end))
    did(State.transaction(function() return (State.get "n" or 0) end))
    did(Spell.get("child"):cast {}.n)
    return { seen = seen, results = results, lucky = random(1000000), id = uuid(), at = now() }
  end,
}
"""

CHILD = """
return Spell.create {
  output = { n = Schema.integer "Number" },
  run = function() sleep(0.01) return { n = State.get("none", 4) } end,
}
"""


async def ended(host: Host, run_id: str, step: int | None) -> Outcome:
    handle = await host.fork(run_id, caller=ME, step=step)
    return await handle.result()


async def test_a_fork_from_each_step_comes_to_the_same_end(tmp_path: Path) -> None:
    async with open_host(tmp_path, {"work": WORK, "child": CHILD}) as host, asyncio.timeout(60):
        first = await host.cast("work", {})
        assert first.ok, first.error
        steps = await host.journal(first.run_id, caller=ME)
        models = [step.number for step in steps if step.kind == "model"]
        assert len(models) >= 5
        for step in [*(step.number for step in steps), None]:
            again = await ended(host, first.run_id, step)
            assert again.ok, (step, again.error)
            if step is None:
                assert again.output == first.output
            # A number that was drawn before is drawn again: a fork has its origin's luck.
            for name in ("lucky", "id"):
                assert again.output[name] == first.output[name]
            assert sorted(map(str, again.output["seen"])) == sorted(map(str, first.output["seen"]))
            run = await (await host.run(again.run_id, caller=ME)).record()
            assert run.forked_from == first.run_id
            begun = [
                event
                async for event in (await host.run(again.run_id, caller=ME)).events()
                if event.kind == "model.started"
            ]
            recorded = sum(step is None or number < step for number in models)
            assert len(begun) <= len(models) + 1 - recorded


async def test_a_fork_of_a_run_that_does_the_same_in_another_order_diverges(
    tmp_path: Path,
) -> None:
    before = """return Spell.create { name = "s", run = function()
      State.set("a", 1) State.set("b", 2) State.set("c", 3) end }"""
    after = """return Spell.create { name = "s", run = function()
      State.set("b", 1) State.set("a", 2) State.set("c", 3) end }"""
    async with open_host(tmp_path, {"s": before}) as host, asyncio.timeout(30):
        first = await host.cast("s", {})
        (tmp_path / "spells" / "s.lua").write_text(after, encoding="utf-8")
        await host.reload()
        handle = await host.fork(first.run_id, caller=ME, current=True)
        outcome = await handle.result()
        assert outcome.error is not None
        assert outcome.error["code"] == "run.diverged"
        assert outcome.error["data"]["recorded"]["name"] == "spell a"
        assert outcome.error["data"]["asked"]["name"] == "spell b"
        steps = await host.journal(first.run_id, caller=ME)
        handle = await host.fork(first.run_id, caller=ME, current=True, step=steps[0].number)
        assert (await handle.result()).ok
