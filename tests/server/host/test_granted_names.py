"""What a spell's code may cast: the names its file mentions while it is loaded, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmspell.errors import LlmspellError
from llmspell.security.principals import local_caller
from tests.support.hosts import open_host

COUNT = """return Tool.create {
  description = "Counts words.",
  input = { text = Schema.string "The text" },
  run = function(input) return select(2, input.text:gsub("%S+", "")) end,
}"""
USES_LOCALLY = """local counter = Tool.get "word_count"
return Spell.create { run = function() return counter:cast { text = "a b c" } end }"""
AGENT = """local helper = Agent.create {
  name = "helper", model = "scripted/echo", tools = { "word_count" },
}
return Spell.create { run = function() return helper:ask "hello" end }"""
STEPS = """local flow = Workflow.sequential { { tool = "word_count" } }
return Spell.create {
  input = { text = Schema.string "The text" },
  run = function(input) return flow:cast(input) end,
}"""
LATE = """return Spell.create {
  run = function()
    return Spell.get("word_count"):cast { text = "a" }
  end,
}"""
LATE_AGENT = """return Spell.create {
  run = function()
    local agent = Agent.create { name = "late", tools = { "word_count" } }
    return agent:ask "hello"
  end,
}"""
DECLARED = LATE.replace("run =", 'needs = { tools = { "word_count" } },\n  run =', 1)


@pytest.mark.parametrize(
    ("source", "input", "output"),
    [
        (USES_LOCALLY, {}, 3),
        (AGENT, {}, None),
        (STEPS, {"text": "a b"}, 2),
        (DECLARED, {}, 1),
    ],
    ids=["a tool found at the top", "a local agent", "a local workflow", "needs"],
)
async def test_what_the_top_level_names_may_be_cast(
    tmp_path: Path, source: str, input: dict[str, str], output: object
) -> None:
    async with open_host(tmp_path, {"word_count": COUNT, "user": source}) as host:
        outcome = await host.cast("user", input, caller=local_caller())
        assert outcome.ok, outcome.error
        assert output is None or outcome.output == output


@pytest.mark.parametrize("source", [LATE, LATE_AGENT], ids=["a finder", "an agent"])
async def test_what_only_the_run_function_names_is_refused_with_the_line_to_add(
    tmp_path: Path, source: str
) -> None:
    async with open_host(tmp_path, {"word_count": COUNT, "user": source}) as host:
        outcome = await host.cast("user", {}, caller=local_caller())
        assert outcome.error is not None
        error = LlmspellError.from_value(outcome.error)
        assert error.code == "need.undeclared"
        assert error.hint == 'declare it: needs = { tools = { "word_count" } }'
        assert "'user' casts 'word_count'" in error.message


async def test_a_name_that_is_nearly_declared_is_suggested(tmp_path: Path) -> None:
    source = """return Spell.create {
      needs = { tools = { "word_count" } },
      run = function() return Spell.get("word_cuont"):cast {} end,
    }"""
    async with open_host(tmp_path, {"word_count": COUNT, "user": source}) as host:
        outcome = await host.cast("user", {}, caller=local_caller())
    assert outcome.error is not None
    error = LlmspellError.from_value(outcome.error)
    assert error.code == "need.undeclared"
    assert error.hint.startswith("did you mean 'word_count'? Else declare it: needs")


IN_A_STEP = """-- Asks "nosuch", in the end.
return Spell.create {
  workflow = Workflow.sequential {
    function() return "first" end,
    { name = "last", tool = "nosuch" },
  },
}"""
IN_AN_AGENT = """return Spell.create {
  agent = Agent.create {
    name = "helper", model = "scripted/echo",
    tools = { "nosuch" },
  },
}"""
IN_A_LOCAL_AGENT = """local helper = Agent.create {
  name = "helper", model = "scripted/echo",
  tools = { "nosuch" },
}
return Spell.create {
  run = function() return helper:ask "hello" end,
}"""
IN_CODE = """local flow = Spell.get "nosuch"
return Spell.create {
  run = function() return flow:cast {} end,
}"""


@pytest.mark.parametrize(
    ("source", "input", "line"),
    [
        (IN_A_STEP, {}, 5),
        (IN_AN_AGENT, {"prompt": "hello"}, 4),
        (IN_A_LOCAL_AGENT, {}, 6),
        (IN_CODE, {}, 3),
    ],
    ids=["a step", "a tool", "a local agent that is asked", "a call"],
)
async def test_a_name_that_nothing_publishes_is_told_with_its_line(
    tmp_path: Path, source: str, input: dict[str, str], line: int
) -> None:
    async with open_host(tmp_path, {"user": source}) as host:
        outcome = await host.cast("user", input, caller=local_caller())
        assert outcome.error is not None
        assert outcome.error["code"] == "spell.not_found"
        assert outcome.error["where"] == f"spells/user.lua:{line}"
