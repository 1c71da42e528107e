"""What a run spent before it was parked counts when it goes on, however it is remembered."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.durability.following import ME, ended, parked
from tests.support.hosts import open_host

FAILS = """
local writer = Agent.create { name = "writer" }
return Spell.create { run = function()
  writer:ask "a thought"
  error { code = "gone", message = "no luck" }
end }"""
SPENDS = """
local writer = Agent.create { name = "writer" }
local twice = Spell.create { name = "twice", run = function()
  writer:ask "one"
  error { code = "gone", message = "no luck" }
end }
return Spell.create {
  needs = { tools = { "fails" } },
  budget = { calls = 2 },
  input = { how = Schema.string() },
  run = function(input, ctx)
    local does = {
      plain = function() writer:ask "one" end,
      step = function() ctx:step("think", function() return writer:ask "one" end) end,
      child = function() pcall(function() return Spell.get("fails"):cast {} end) end,
      inline = function() pcall(function() return twice:cast {} end) end,
      branch = function()
        pcall(parallel, {
          function()
            writer:ask "one"
            State.shared:set("asked", 1)
            sleep(600)
          end,
          function()
            while not State.shared:get "asked" do
              sleep(0.01)
            end
            error "no luck"
          end,
        })
      end,
    }
    does[input.how]()
    ctx:ask { message = "Go on?" }
    writer:ask "two"
    local ok, problem = pcall(function() return writer:ask "three" end)
    return { ok = ok, code = not ok and problem.code or "none" }
  end,
}"""
LEAF = 'return Spell.create { run = function() return State.shared:increment "leaves" end }'
TWICE = """return Spell.create {
  needs = { tools = { "leaf" } },
  run = function()
    Spell.get("leaf"):cast {}
    return Spell.get("leaf"):cast {}
  end,
}"""
ROOT = """return Spell.create {
  needs = { tools = { "twice", "leaf" } },
  budget = { children = 4 },
  input = { in_step = Schema.boolean() },
  run = function(input, ctx)
    local cast = function() return Spell.get("twice"):cast {} end
    if input.in_step then ctx:step("once", cast) else cast() end
    ctx:ask { message = "Go on?" }
    Spell.get("leaf"):cast {}
    local ok, problem = pcall(function() return Spell.get("leaf"):cast {} end)
    return { ok = ok, code = not ok and problem.code or "none" }
  end,
}"""


@pytest.mark.parametrize("how", ["plain", "step", "child", "inline", "branch"])
async def test_model_calls_of_before_count_against_the_budget(how: str, tmp_path: Path) -> None:
    spells = {"fails": FAILS, "spends": SPENDS}
    async with open_host(tmp_path, spells) as host, asyncio.timeout(10):
        handle = await host.start("spends", {"how": how}, caller=ME)
        assert (await handle.result()).state == "input_required"
        await parked(host, handle.id)
        await handle.answer(True)
        outcome = await ended(handle)
        assert outcome.output == {"ok": False, "code": "budget.exhausted"}, outcome
        assert outcome.usage.calls == 2


@pytest.mark.parametrize("in_step", [False, True])
async def test_children_of_children_of_before_count_against_the_budget(
    in_step: bool, tmp_path: Path
) -> None:
    spells = {"leaf": LEAF, "twice": TWICE, "root": ROOT}
    async with open_host(tmp_path, spells) as host, asyncio.timeout(10):
        handle = await host.start("root", {"in_step": in_step}, caller=ME)
        assert (await handle.result()).state == "input_required"
        await parked(host, handle.id)
        await handle.answer(True)
        outcome = await ended(handle)
        assert outcome.output == {"ok": False, "code": "budget.exhausted"}, outcome
        assert (await handle.record()).children == 4
