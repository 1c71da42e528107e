"""A cell: chunks see each other's globals, act once, and survive what ends one of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from llmspell.authoring.cell.cell import Cell, Evaluated
from llmspell.clock import ManualClock
from llmspell.host.host import Host
from llmspell.security.principals import local_caller
from tests.support.hosts import open_host

HELLO = 'return Spell.create { run = function(input) return "Hello, " .. input.name end }'


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with asyncio.timeout(30), open_host(tmp_path, {"hello": HELLO}) as host:
        yield host


@pytest.fixture
def cell(host: Host) -> Cell:
    return Cell(host)


async def shown(cell: Cell, *chunks: str) -> str:
    """Evaluate chunks, none of which may fail, and return what the last one shows."""
    text = ""
    for chunk in chunks:
        evaluated = await cell.evaluate(chunk)
        assert evaluated.error is None, evaluated.error.report()
        assert not evaluated.is_incomplete, chunk
        text = evaluated.text
    return text


async def failed(cell: Cell, chunk: str) -> tuple[str, str | None, str]:
    """Return code, place and message of what a chunk fails with."""
    error = (await cell.evaluate(chunk)).error
    assert error is not None
    return error.code, error.where, error.message


@pytest.mark.parametrize(
    ("chunk", "text"),
    [
        ("1 + 1", "2"),
        ("'a\\nb', 2.5, nil, true", '"a\\nb"\t2.5\tnil\ttrue'),
        ("1, nil", "1"),
        ("nil", "nil"),
        ("{ 1, { k = 'v' }, [9] = 2, ['a b'] = 3 }", '{ 1, { k = "v" }, [9] = 2, ["a b"] = 3 }'),
        ("{ {{{{1}}}} }", "{ { { { {...} } } } }"),
        ("print", "function"),
        ("json.null", "json.null"),
        ("Spell.get 'hello'", "<spell hello>"),
        ("x = 1", ""),
        ("local a = 1 return a + 1", "2"),
        ("-- nothing", ""),
        ("1 -- one", "1"),
        ("(function(...) return ... end)(1, 2)", "1\t2"),
    ],
)
async def test_values_are_shown_and_statements_show_none(cell: Cell, chunk: str, text: str) -> None:
    assert await shown(cell, chunk) == text


async def test_a_table_that_holds_itself_is_shown(cell: Cell) -> None:
    assert await shown(cell, "t = { n = 1 }", "t.t = t", "t") == "{ n = 1, t = { itself } }"
    assert (await shown(cell, "r = {} for i = 1, 99 do r[i] = i end", "r")).endswith("50, ... }")


async def test_globals_stay_and_locals_do_not(cell: Cell) -> None:
    assert await shown(cell, "x = 20", "function f(n) return n * 2 end", "f(x) + 2") == "42"
    assert await shown(cell, "local y = 1", "y") == "nil"


async def test_what_happened_is_not_done_again_by_a_later_chunk(cell: Cell, host: Host) -> None:
    chunks = ("State.increment 'n'", "n = State.increment 'n'", "sleep(0)", "n", "State.get 'n'")
    assert (await shown(cell, *chunks)).startswith("2")
    assert await shown(cell, "Spell.get('hello'):cast { name = 'Ada' }") == '"Hello, Ada"'
    page = await host.runs(caller=local_caller("cli"), limit=100)
    # One run a chunk, and one for the spell that was cast once.
    assert sorted(run.spell for run in page.runs if run.state == "completed").count("hello") == 1


async def test_side_by_side_goes_the_same_way_when_it_is_repeated(cell: Cell) -> None:
    await shown(
        cell,
        "order = {}",
        "function nap(t, name) return function() sleep(t) local n = State.increment 'n' "
        "order[#order + 1] = name .. n end end",
        "parallel { nap(0.03, 'a'), nap(0.01, 'b'), nap(0.02, 'c') }",
    )
    first = await shown(cell, "order")
    # Mostly b, c, a; a busy machine may wake them in another order.
    assert sorted(re.findall(r"[abc]", first)) == ["a", "b", "c"]
    assert await shown(cell, "State.increment 'other'", "order") == first


async def test_random_numbers_and_ids_stay_what_they_were(cell: Cell) -> None:
    await shown(cell, "a, b = random(1000000), uuid()")
    first = await shown(cell, "a, b")
    assert await shown(cell, "c = random(1000000)", "a, b") == first


async def test_the_time_is_that_of_the_chunk(tmp_path: Path) -> None:
    clock = ManualClock(1000.0)
    async with asyncio.timeout(20), open_host(tmp_path, clock=clock) as host:
        cell = Cell(host)
        assert await shown(cell, "began = now()", "began") == "1000.0"
        await clock.advance(500)
        assert await shown(cell, "now(), began") == "1500.0\t1000.0"


async def test_an_error_names_the_line_as_it_was_typed(cell: Cell) -> None:
    await shown(cell, "x = 1\n\ny = 2")
    assert cell.line == 4
    assert await failed(cell, "\nerror 'boom'") == ("spell.raised", "repl:5", "boom")
    assert await failed(cell, "Spell.get('no'):cast()") == (
        "spell.not_found",
        "repl:6",
        "there is no spell, agent or tool 'no'",
    )
    error = (await cell.evaluate("local function f() error 'in' end\nlocal _ = f()")).error
    assert error is not None
    assert [line.partition(": ")[0] for line in str(error.traceback).splitlines()] == [
        "repl:7",
    ]


async def test_a_chunk_that_fails_keeps_what_it_did_before(cell: Cell) -> None:
    assert (await failed(cell, "x = State.increment 'n' error 'late'"))[2] == "late"
    assert await shown(cell, "x, (State.get 'n')") == "1\t1"


async def test_a_chunk_that_is_ended_leaves_the_globals_as_they_were(cell: Cell) -> None:
    await shown(cell, "x = 1")
    code, _, _ = await failed(cell, "x = 2 while true do end")
    assert code.startswith("limit.")
    assert await shown(cell, "x") == "1"


async def test_functions_of_a_spell_that_a_chunk_casts_run_in_the_same_state(cell: Cell) -> None:
    spell = "s = Spell.create { name = 's', run = function() n = State.increment 'n' return n end }"
    assert await shown(cell, spell, "n = 0", "s:cast()", "n") == "1"
    await failed(cell, "while true do end")
    assert await shown(cell, "s:cast(), n") == "2\t2"
    assert await shown(cell, "(State.get 'n')") == "2"


async def test_a_closed_cell_makes_its_state_again(cell: Cell) -> None:
    await shown(cell, "x = State.increment 'n'")
    await cell.close()
    assert await shown(cell, "x, (State.get 'n')") == "1\t1"
    await cell.close()


async def test_a_chunk_that_is_cancelled_leaves_the_globals_as_they_were(tmp_path: Path) -> None:
    clock = ManualClock()
    async with asyncio.timeout(20), open_host(tmp_path, clock=clock) as host:
        cell = Cell(host)
        await shown(cell, "x = 1")
        sleeping = asyncio.create_task(cell.evaluate("x = 2 sleep '1h'"))
        await clock.sleeper(2)  # the time limit of the cast is the other one
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping
        assert await shown(cell, "x") == "1"


@pytest.mark.parametrize(
    "chunk",
    ["for i = 1, 2 do", "f(", "x =", "1 +", "[[a", "--[[", "function f()", "if x then", "{", "a."],
)
async def test_a_text_that_goes_on_is_asked_to(cell: Cell, chunk: str) -> None:
    evaluated = await cell.evaluate(chunk)
    assert evaluated.is_incomplete
    assert evaluated.error is None
    assert cell.line == 1


@pytest.mark.parametrize(
    ("chunk", "message"),
    [("end", "expected near 'end'"), ("x = = 1", "near '='"), ("1 2", "near")],
)
async def test_a_text_that_is_no_lua_is_told_and_changes_nothing(
    cell: Cell, chunk: str, message: str
) -> None:
    code, where, said = await failed(cell, chunk)
    assert (code, where) == ("spec.syntax", "repl:1")
    assert message in said
    assert cell.line == 1


async def test_what_is_logged_comes_with_the_chunk_that_logged_it(cell: Cell) -> None:
    evaluated = await cell.evaluate("print('a', 1) Log.warn('b', { c = 1 })")
    assert [(entry["level"], entry["message"]) for entry in evaluated.log] == [
        ("info", "a\t1"),
        ("warn", "b"),
    ]
    assert (await cell.evaluate("1")).log == []


async def test_a_module_stays_as_it_was_when_it_was_required(cell: Cell, host: Host) -> None:
    module = host.project.root / "lib" / "two.lua"
    module.parent.mkdir()
    module.write_text("return { two = 2 }", encoding="utf-8")
    assert await shown(cell, "m = require 'two'", "m.two") == "2"
    module.write_text("return { two = 3 }", encoding="utf-8")
    assert await shown(cell, "m.two, require('two').two") == "2\t2"


async def test_what_a_chunk_evaluates_to_is_told_as_json() -> None:
    value = Evaluated(text="1", line=2).to_value()
    assert value == {"text": "1", "log": [], "error": None, "incomplete": False, "line": 2}
