"""What an author is told beyond Lua's own words: what was meant, and how the API is used."""

from __future__ import annotations

import pytest

from llmspell.errors import SpecError, StateConflict
from tests.support.lua_scripts import Bench

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("statement", "hint"),
    [
        ("State.sett('k', 1)", "did you mean 'set'?"),
        ("State.user.incremnet('k')", "did you mean 'increment'?"),
        ("Stat.get 'k'", "did you mean 'State'?"),
        ("prnt 'x'", "did you mean 'print'?"),
        ("slep(1)", "did you mean 'sleep'?"),
        ("Log.warning 'x'", "did you mean 'warn'?"),
        ("json.Encode {}", "did you mean 'encode'?"),
        ("ctx:emmit 'x'", "did you mean 'emit'?"),
        ("local s = 'x' s:uper()", "did you mean 'upper'?"),
        ("Agent.create {}:aks 'x'", "did you mean 'ask'?"),
        ("Workflow.twist {}", "Workflow has: parallel, sequential"),
        ("io.open 'x'", "'io' is not there for spells: spells reach no files"),
        ("load 'x'", "'load' is not there for spells: spells cannot make code while they run"),
        ("unpack {}", "'unpack' is not there for spells: write table.unpack"),
        ("os.execute 'ls'", "spells start no programs"),
        ("Spell { name = 'x' }", "write Spell.create { ... }"),
        ("require 'text.short'", "modules stand in spells/lib or lib: lib/text/short.lua"),
        (
            "local v = select(2, 1).x",
            "'select' gave nil: look at what it gives before you use it",
        ),
        ("local t = {} return 1 + t.price", "where it may be absent, write (t.price or 0)"),
        ("local t = {} return 'a' .. t.name", 'where it may be absent, write (t.name or "")'),
        ("return 'a' + 1", "a text is no number: write tonumber(text)"),
        ("return 'a' + 'b'", "texts are joined with .."),
    ],
)
async def test_a_name_that_is_nil_gets_the_name_that_was_meant(
    lua: Bench, statement: str, hint: str
) -> None:
    error = await lua.error(f"local a = 1\n{statement}")
    assert error["hint"] == hint
    assert error["where"] == "spells/t.lua:3"


@pytest.mark.parametrize(
    "statement",
    [
        "xyzzy()",
        "foo.bar()",
        "local t = {} t.sett()",
        "local x x.y = 1",
        "State.get 'k'.x.y()",
        "error 'own'",
    ],
)
async def test_where_nothing_of_the_api_was_meant_there_is_no_hint(
    lua: Bench, statement: str
) -> None:
    error = await lua.error(statement, answer=lambda _, __: ["v", "1"])
    assert "hint" not in error


async def test_an_undefined_global_is_nil_as_in_lua(lua: Bench) -> None:
    assert await lua.value("return { undefined == nil, _G.undefined == nil }") == [True, True]


async def test_hints_are_given_while_the_file_loads_too(lua: Bench) -> None:
    with pytest.raises(SpecError, match="global 'Spel'") as got:
        await lua.load("return Spel.create {}")
    assert got.value.hint == "did you mean 'Spell'?"


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("ctx:emit 'x'", "take it as the second argument: run = function(input, ctx)"),
        ("return input.text", "take it as the first argument: run = function(input)"),
    ],
)
async def test_an_argument_of_run_that_was_not_taken_is_named(
    lua: Bench, source: str, hint: str
) -> None:
    with pytest.raises(SpecError, match="index a nil value") as got:
        await lua.load(source)
    assert got.value.hint == hint


async def test_a_changed_api_table_gives_no_wrong_hints_and_runs_nothing(lua: Bench) -> None:
    error = await lua.error("""
        local ran = function() error "ran" end
        setmetatable(Log, { __index = ran, __pairs = ran, __len = ran })
        setmetatable(_G, { __pairs = ran })
        Log.set, Log[1], Log[{}] = 1, 2, 3
        for i = 1, 500 do State["k" .. i] = i end
        State.nothing()
    """)
    assert error["message"] == "attempt to call a nil value (field 'nothing')"
    assert "hint" not in error


@pytest.mark.parametrize(
    ("statement", "hint"),
    [
        ("State.get()", "write State.get(key, default)"),
        ("State.shared.set 'k'", 'write State.shared.set(key, value, { ttl = "10m" })'),
        ("State.set('k', 1, 5)", 'write State.set(key, value, { ttl = "10m" })'),
        ("State.scan('p', 5)", "write State.scan(prefix, { limit = 100 })"),
        (
            "State.update('k', 1)",
            "write State.update(key, function(value) return changed end)",
        ),
        ("sleep 'soon'", 'write sleep(2) or sleep "500ms"'),
        ("Spell.get(5)", 'write Spell.get "NAME"'),
        ("Agent.create 'x'", "write Agent.create { ... }"),
        ("Agent.get('a'):run(5)", 'write agent:run { prompt = "..." }'),
        ("parallel { 1 }", "write parallel { function() ... end, function() ... end }"),
        ("Content.image('x')", 'write Content.image(bytes, "image/png")'),
        ("Content.audio(5, 'a/b')", 'write Content.audio(bytes, "audio/wav")'),
        (
            "Content.resource { uri = 'x:1', mime_type = 'a/b' }",
            'write Content.resource { uri = "...", text = "...", media_type = "text/plain" }',
        ),
        ("State.set('k', print)", "pass on texts, numbers, true, false, and tables of these"),
    ],
)
async def test_wrong_use_of_the_api_shows_how_it_is_used(
    lua: Bench, statement: str, hint: str
) -> None:
    error = await lua.error(f"local a = 1\n{statement}")
    assert (error["code"], error["hint"]) == ("spell.raised", hint)
    assert error["where"] == "spells/t.lua:3"


class TestTailCalls:
    async def test_a_failing_effect_that_is_returned_is_found_in_its_function(
        self, lua: Bench
    ) -> None:
        def changed(operation: str, arguments: object) -> object:
            raise StateConflict("changed")

        error = await lua.error("local a = 1\n\nreturn State.get('k')", answer=changed)
        assert error["where"] == "spells/t.lua:4"
        error = await lua.error("local a = 1\n\nreturn Agent.get('k'):ask 'x'", answer=changed)
        assert error["where"] == "spells/t.lua:4"

    async def test_where_two_lines_could_be_it_the_function_is_named(self, lua: Bench) -> None:
        def changed(operation: str, arguments: object) -> object:
            raise StateConflict("changed")

        body = "if input then return State.get 'a' end\nreturn State.get 'b'"
        assert (await lua.error(body, answer=changed))["where"] == "spells/t.lua:1"

    async def test_a_line_too_long_to_read_is_no_reason_to_fail(self, lua: Bench) -> None:
        def changed(operation: str, arguments: object) -> object:
            raise StateConflict("changed")

        body = "local a = '" + "return get " * 10_000 + "'\nreturn State.get 'b'"
        assert (await lua.error(body, answer=changed))["where"] == "spells/t.lua:3"
