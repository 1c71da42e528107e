"""Which lines run: every line that holds a statement, in every file that is loaded."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest

from llmspell.authoring.testing.collecting import find_tests
from llmspell.authoring.testing.coverage import Coverage
from llmspell.authoring.testing.running import run_tests
from llmspell.config import open_project
from llmspell.runtime.engine import ScriptContext, ScriptLimits
from llmspell.runtime.lua.engine import LuaEngine
from llmspell.values import FunctionRef
from tests.support.lua_scripts import drive, program, refuse_all

SOURCE = """
-- A comment.
local function never()
  local a = 1
  return a
end

local made = {
  one = 1,
  two = function(x) return x end,
}

return function(input)
  local sum = 0
  for i = 1, 3 do
    sum = sum + i
  end
  if sum > 100 then
    sum = never()
  end
  local co = coroutine.wrap(function()
    coroutine.yield(1)
    error "not reached"
  end)
  co()
  parallel { function()
    sum = 7
  end }
  return made.two(sum)
end
"""


class Seen:
    def __init__(self) -> None:
        self.lines: set[int] = set()
        self.ran: set[int] = set()

    def __call__(self, file: str, lines: Sequence[int], ran: Sequence[int]) -> None:
        assert file == "spells/t.lua"
        self.lines.update(lines)
        self.ran.update(ran)


@pytest.mark.parametrize("isolation", ["process", "inline"])
async def test_lines_there_are_and_lines_that_ran_are_told(isolation: str) -> None:
    seen = Seen()
    engine = LuaEngine(
        isolation="inline" if isolation == "inline" else "process", idle_workers=0, covered=seen
    )
    try:
        script = await engine.open(program(SOURCE), ScriptLimits(), ScriptContext())
        script.load()
        task = script.call(FunctionRef(1), [None], with_context=False)
        outcome = await drive(script, task, refuse_all)
        await script.close()
    finally:
        await engine.close()
    assert outcome.value == 7
    text = textwrap.dedent(SOURCE).strip("\n").splitlines()
    missing = {text[line - 1].strip() for line in seen.lines - seen.ran}
    assert missing == {"local a = 1", "return a", "sum = never()", 'error "not reached"'}
    told = {text[line - 1].strip() for line in seen.lines & seen.ran}
    assert {"sum = sum + i", "coroutine.yield(1)", "sum = 7", "return made.two(sum)"} <= told
    assert "" not in told


async def test_files_of_the_project_are_told_and_tests_are_not(tmp_path: Path) -> None:
    (tmp_path / "spells").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "llmspell.toml").touch()
    (tmp_path / "lib" / "help.lua").write_text("return { two = function()\n  return 2\nend }\n")
    (tmp_path / "spells" / "used.lua").write_text(
        "local help = require 'help'\n"
        "return Spell.create { run = function(input)\n"
        "  if input.fail then\n    local a = 1\n\n    error 'x'\n  end\n"
        "  return help.two()\nend }\n"
    )
    (tmp_path / "spells" / "unused.lua").write_text(
        "return Spell.create { run = function()\n  return 1\nend }\n"
    )
    (tmp_path / "spells" / "used_test.lua").write_text(
        "it('works', function() expect(spell('used'):cast {}).to_equal(2) end)\n"
    )
    coverage = Coverage()
    project = open_project(tmp_path, environ={})
    results = [
        result async for result in run_tests(project, find_tests(project), coverage=coverage)
    ]
    assert [result.ok for result in results] == [True]
    found = {item.file: (item.percent, item.missing) for item in coverage.files}
    assert found == {
        "spells/help.lua": (100, ""),  # a module is called after who requires it
        "spells/unused.lua": (66, "2"),
        "spells/used.lua": (71, "4-6"),
    }
    assert coverage.total.missing != ""
    assert coverage.files[0].to_value() == {
        "file": "spells/help.lua",
        "lines": 3,
        "ran": 3,
        "percent": 100,
        "missing": [],
    }
