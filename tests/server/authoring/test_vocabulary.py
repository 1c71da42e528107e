"""What editors and `check` know is what a spell finds: each name of it, and no other."""

from __future__ import annotations

import re

import pytest

from llmspell.authoring import vocabulary
from llmspell.authoring.testing.collecting import LIBRARY, library
from llmspell.authoring.vocabulary import split
from llmspell.runtime.lua import sources
from tests.support.lua_scripts import Bench

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Every table that can be reached from the globals by names, with the names in it.
TABLES = """
    local found, seen = {}, { [_G] = true }
    local function visit(path, t)
      local names = {}
      for name, value in pairs(t) do
        names[#names + 1] = name
        if type(value) == "table" and value ~= json.null and not seen[value] then
          seen[value] = true
          visit(path == "" and name or path .. "." .. name, value)
        end
      end
      found[path] = names
    end
    visit("", _G)
    return found
"""

CONTEXT = """
    local names = {}
    for name in pairs(ctx) do names[#names + 1] = name end
    return names
"""


def methods_in_prelude(table: str) -> set[str]:
    """Return the methods that the prelude defines on one of its tables."""
    text = "".join(sources.read(name).decode() for name in sources.PARTS)
    return set(re.findall(rf"^function {table}[.:](\w+)\(", text, re.MULTILINE))


async def test_the_globals_and_all_they_hold_are_declared_and_nothing_else(lua: Bench) -> None:
    found = await lua.value(TABLES)
    known = vocabulary.of_spells()
    assert set(found.pop("")) == known.globals
    assert {path: set(names) for path, names in found.items()} == known.members


async def test_the_methods_of_what_is_cast_are_declared_and_nothing_else(lua: Bench) -> None:
    known = vocabulary.of_spells()
    assert set(known.methods("llmspell.Agent")) == methods_in_prelude("agent_methods") | {"cast"}
    assert set(known.methods("llmspell.Spell")) == {"cast"}
    for kind in ("Spell", "Tool", "Agent"):
        for method in known.methods(f"llmspell.{kind}"):
            assert await lua.value(f"return type({kind}.get('x').{method})") == "function"


async def test_the_methods_and_fields_of_ctx_are_declared_and_nothing_else(lua: Bench) -> None:
    known = vocabulary.of_spells()
    methods = set(known.methods("llmspell.Context"))
    assert methods == methods_in_prelude("ctx_methods")
    for method in methods:
        assert await lua.value(f"return type(ctx.{method})") == "function"
    fields = set(known.classes["llmspell.Context"].fields)
    assert set(await lua.value(CONTEXT)) <= fields
    text = sources.read("prelude.lua").decode()
    listed = re.search(r"CONTEXT_FIELDS = \{(.*?)\}", text)
    assert listed is not None
    assert fields == set(re.findall(r'"(\w+)"', listed[1]))


async def test_a_test_file_finds_what_the_types_of_tests_declare(lua: Bench) -> None:
    added = vocabulary.of_tests().globals - vocabulary.of_spells().globals
    modules = {LIBRARY: library().decode()}
    before = set(vocabulary.of_spells().globals)
    outcome = await lua.call(
        f'local run = require "{LIBRARY}"\nreturn function() {TABLES.replace("ctx", "nil")} end',
        modules=modules,
    )
    assert outcome.ok, outcome.value
    assert set(outcome.value[""]) - before == added
    assert set(outcome.value["mock"]) == vocabulary.of_tests().members["mock"]
    # In a spell there is none of it.
    for name in added:
        assert await lua.value(f"return {name} == nil") is True


async def test_the_matchers_of_expect_are_declared_and_nothing_else(lua: Bench) -> None:
    outcome = await lua.call(
        f"""
        require "{LIBRARY}"
        return function()
          local names = {{}}
          for name in pairs(expect(1)) do names[#names + 1] = name end
          return names
        end
        """,
        modules={LIBRARY: library().decode()},
    )
    assert set(outcome.value) == set(vocabulary.of_tests().methods("llmspell.Expectation"))


@pytest.mark.parametrize(
    ("kind", "fields", "items", "rest"),
    [
        (
            "llmspell.Budget",
            ["calls", "children", "depth", "seconds", "tokens", "tool_calls", "usd"],
            None,
            None,
        ),
        ("string|{ prompt: any, stream?: boolean }", ["prompt", "stream"], None, None),
        ("llmspell.Step[]", [], "llmspell.Step", None),
        ("(string|integer)[]", [], "string|integer", None),
        ("table<string, llmspell.Step>", [], None, "llmspell.Step"),
    ],
)
async def test_a_type_says_what_a_table_may_hold(
    kind: str, fields: list[str], items: str | None, rest: str | None
) -> None:
    found = vocabulary.of_spells().table(kind)
    assert found is not None
    assert (sorted(found.fields), found.items, found.rest) == (fields, items, rest)


@pytest.mark.parametrize("kind", ["table", "any", "string", "llmspell.Schema", "fun(a: table): b"])
async def test_a_type_that_says_nothing_of_keys_is_not_guessed_at(kind: str) -> None:
    assert vocabulary.of_spells().table(kind) is None


async def test_a_name_to_be_cast_is_told_from_any_text() -> None:
    known = vocabulary.of_spells()
    assert known.is_name("llmspell.Name")
    assert known.is_name("llmspell.Step")
    assert not known.is_name("string")


async def test_a_type_is_split_outside_its_brackets_only() -> None:
    assert split("a|(b|c)[]|{ d: e|f }|table<g, h|i>", "|") == [
        "a",
        "(b|c)[]",
        "{ d: e|f }",
        "table<g, h|i>",
    ]
