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
