"""Casting through the host, with real Lua: what goes in, what comes out, and what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmspell.clock import ManualClock
from llmspell.errors import InputInvalid, InputTooLarge, InternalError, SpellNotFound
from llmspell.host.host import Host
from llmspell.runs.record import Outcome
from llmspell.security.principals import local_caller
from tests.support.hosts import open_host, write_spells

TYPED = """
return Spell.create {
  input  = {
    text  = Schema.string "A text",
    count = Schema.integer("A number", { default = 2, min = 1, max = 9 }),
    tags  = Schema.list(Schema.string(), "Tags", { optional = true }),
  },
  output = { text = Schema.string(), tags = Schema.list(Schema.string()) },
  run = function(input)
    return { text = input.text:rep(input.count), tags = input.tags or {} }
  end,
}
"""

ANYTHING = "return Spell.create { run = function(input) return input.value end }"

RAISES = """
return Spell.create {
  run = function(input)
    if input.how == "table" then
      error { code = "my.code", message = "tables", hint = "do better", data = { a = 1 } }
    elseif input.how == "text" then
      error("texts")
    elseif input.how == "nil" then
      local nothing = nil
      return nothing.field
    end
    return input.how()
  end,
}
"""

OUTPUTS = """
return Spell.create {
  output = { n = Schema.integer "A number", s = Schema.string("A text", { optional = true }) },
  run = function(input) return input.value end,
}
"""

MISSING = "return Spell.create { output = { n = Schema.integer() }, run = function() end }"

LOOP = "return Spell.create { run = function() while true do end end }"

BOMB = """
return Spell.create { run = function()
  local t = {}
  for i = 1, 1e9 do t[i] = ("x"):rep(1000) .. i end
end }
"""

SLEEPS = "return Spell.create { run = function() sleep(3600) return 'awake' end }"

LARGE = "return Spell.create { run = function(input) return ('x'):rep(input.size) end }"

SPELLS = {
    "typed": TYPED,
    "anything": ANYTHING,
    "raises": RAISES,
    "outputs": OUTPUTS,
    "missing": MISSING,
    "loop": LOOP,
    "sleeps": SLEEPS,
    "large": LARGE,
}


# One host for all tests of this module: what one cast does must not matter to the next.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Host]:
    async with open_host(tmp_path_factory.mktemp("project"), SPELLS) as opened:
        yield opened


def failure(outcome: Outcome) -> dict[str, Any]:
    """Return the error of a failed run, having checked what every error has."""
    assert outcome.state == "failed"
    assert outcome.error is not None
    assert outcome.error["run_id"] == outcome.run_id
    assert outcome.error["message"]
    return outcome.error


# --- input and output


async def test_what_goes_in_comes_out_as_the_schemas_say(host: Host) -> None:
    outcome = await host.cast("typed", {"text": "ab", "count": 3, "tags": ["x"]})
    assert outcome.ok
    assert outcome.output == {"text": "ababab", "tags": ["x"]}


async def test_defaults_fill_the_input_and_an_empty_table_is_the_list_it_stands_for(
    host: Host,
) -> None:
    assert (await host.cast("typed", {"text": "ab"})).output == {"text": "abab", "tags": []}


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1,
        2**53,
        -(2**63),
        1.5,
        "",
        "grüße 🎉",
        "a\x00b",
        [1, [2, [3]]],
        {"a": {"b": [None, 1, {"c": ""}]}},
    ],
)
async def test_a_value_goes_through_a_spell_unchanged(host: Host, value: Any) -> None:
    outcome = await host.cast("anything", {"value": value})
    assert outcome.error is None
    assert outcome.output == value
    assert type(outcome.output) is type(value)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({}, "text"),
        ({"text": 5}, "text"),
        ({"text": "a", "count": "2"}, "count"),
        ({"text": "a", "count": 10}, "count"),
        ({"text": "a", "count": 1.5}, "count"),
        ({"text": "a", "tags": ["x", 5]}, "tags.1"),
        ({"text": "a", "tgas": []}, "tgas"),
        ("a text", ""),
        (5, ""),
        ([1], ""),
    ],
)
async def test_input_that_does_not_fit_names_the_field_and_makes_no_run(
    host: Host, value: Any, field: str
) -> None:
    before = (await host.runs(caller=local_caller())).total
    with pytest.raises(InputInvalid) as caught:
        await host.cast("typed", value)
    error = caught.value
    assert error.code == "input.invalid"
    assert error.data["errors"]
    assert field in error.message
    assert "llmspell spells show typed" in error.hint
    assert (await host.runs(caller=local_caller())).total == before


@pytest.mark.parametrize("value", ["\ud800", 2**64, {"deep": [-(2**63) - 1]}])
async def test_what_cannot_be_written_down_is_refused_as_input(host: Host, value: Any) -> None:
    with pytest.raises(InputInvalid, match="cannot be written down"):
        await host.cast("anything", {"value": value})


async def test_a_bottomless_input_is_refused(host: Host) -> None:
    value: list[Any] = []
    for _ in range(10_000):
        value = [value]
    with pytest.raises(InputInvalid):
        await host.cast("anything", {"value": value})
    assert (await host.cast("anything", {"value": 1})).ok


async def test_an_input_of_ten_megabytes_is_refused_by_a_stated_limit(host: Host) -> None:
    with pytest.raises(InputTooLarge) as caught:
        await host.cast("typed", {"text": "x" * 10_000_000})
    assert caught.value.code == "input.too_large"
    assert caught.value.data["limit_bytes"] == 4 << 20
    assert caught.value.data["size_bytes"] > 10_000_000
    assert (await host.cast("typed", {"text": "x"})).ok


async def test_a_large_input_under_the_limit_goes_through(host: Host) -> None:
    text = "ü" * 1_000_000
    assert (await host.cast("anything", {"value": text})).output == text


@pytest.mark.parametrize(
    ("value", "field"),
    [({"n": "one"}, "n"), ({"n": 1, "s": 5}, "s"), ({}, '"n"'), ("text", "object"), (5, "object")],
)
async def test_output_that_does_not_fit_fails_the_run_and_points_at_the_declaration(
    host: Host, value: Any, field: str
) -> None:
    error = failure(await host.cast("outputs", {"value": value}))
    assert error["code"] == "output.invalid"
    assert field in error["message"]
    assert error["where"] == "spells/outputs.lua:3"


async def test_a_spell_that_returns_nothing_where_it_promises_something_fails(host: Host) -> None:
    error = failure(await host.cast("missing", {}))
    assert error["code"] == "output.invalid"
    assert "null is not of type" in error["message"]


async def test_an_integer_too_large_for_the_wires_is_not_made_up(host: Host) -> None:
    outcome = await host.cast("outputs", {"value": {"n": 1e300}})
    assert outcome.ok
    assert outcome.output == {"n": 1e300}
    assert isinstance(outcome.output["n"], float)


async def test_an_output_over_its_limit_fails_the_run_and_not_the_host(host: Host) -> None:
    error = failure(await host.cast("large", {"size": (4 << 20) + 1}))
    assert error["code"] == "output.too_large"
    error = failure(await host.cast("large", {"size": 9_000_000}))
    assert error["code"] == "output.too_large"
    assert (await host.cast("large", {"size": 3})).output == "xxx"


# --- what goes wrong in a spell


async def test_an_error_raised_as_a_table_keeps_the_authors_words(host: Host) -> None:
    error = failure(await host.cast("raises", {"how": "table"}))
    assert error["code"] == "spell.raised"
    assert (error["message"], error["hint"]) == ("tables", "do better")
    assert error["data"]["code"] == "my.code"
    assert error["where"] == "spells/raises.lua:5"


@pytest.mark.parametrize(
    ("how", "message", "line"),
    [("text", "texts", 7), ("nil", "attempt to index a nil value", 10), ("x", "call", 12)],
)
async def test_an_error_names_the_line_of_the_authors_file(
    host: Host, how: str, message: str, line: int
) -> None:
    error = failure(await host.cast("raises", {"how": how}))
    assert error["code"] == "spell.raised"
    assert message in error["message"]
    assert error["where"] == f"spells/raises.lua:{line}"


async def test_an_unknown_spell_is_an_error_with_a_suggestion(host: Host) -> None:
    with pytest.raises(SpellNotFound, match="'tiped'") as caught:
        await host.cast("tiped", {})
    assert "did you mean 'typed'?" in caught.value.hint


async def test_a_loop_without_end_is_ended_while_another_cast_answers(host: Host) -> None:
    async with asyncio.timeout(10):
        endless = asyncio.get_running_loop().create_task(host.cast("loop", {}))
        assert (await host.cast("typed", {"text": "a"})).ok
        assert not endless.done()
        error = failure(await endless)
    assert error["code"] == "limit.wall_clock"
    assert error["where"] == "spells/loop.lua:1"
    assert (await host.cast("typed", {"text": "a"})).ok


async def test_a_spell_that_eats_memory_is_ended_and_the_host_goes_on(tmp_path: Path) -> None:
    spells = {"bomb": BOMB, "typed": TYPED}
    # So small that it is full long before the time is up.
    async with open_host(tmp_path, spells, limits__heap_bytes=str(4 << 20)) as host:
        async with asyncio.timeout(20):
            error = failure(await host.cast("bomb", {}))
        assert error["code"] == "limit.memory"
        assert error["where"] == "spells/bomb.lua:4"
        assert (await host.cast("typed", {"text": "a"})).ok


# --- time


async def test_a_cast_that_takes_longer_than_its_callers_patience_fails(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_host(tmp_path, {"sleeps": SLEEPS}, clock=clock) as host:
        error = await sleep_through(host, clock, seconds=61, timeout=60)
    assert error["code"] == "limit.wall_clock"
    assert "60 seconds" in error["message"]


async def test_a_cast_ends_at_the_deadline_its_spell_gives_itself(tmp_path: Path) -> None:
    clock = ManualClock()
    source = SLEEPS.replace("{ run", "{ budget = { seconds = 5 }, run")
    async with open_host(tmp_path, {"sleeps": source}, clock=clock) as host:
        error = await sleep_through(host, clock, seconds=6)
    assert error["code"] == "limit.wall_clock"
    assert "5 seconds" in error["message"]


async def test_no_cast_outlives_the_limit_of_the_settings(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_host(
        tmp_path, {"sleeps": SLEEPS}, clock=clock, limits__cast_seconds="600"
    ) as host:
        error = await sleep_through(host, clock, seconds=601, timeout=1_000_000)
    assert "600 seconds" in error["message"]


async def sleep_through(
    host: Host, clock: ManualClock, *, seconds: float, timeout: float | None = None
) -> dict[str, Any]:
    """Cast the sleeper, let time pass once it sleeps, and return the error it ends with."""
    async with asyncio.timeout(10):
        handle = await host.start("sleeps", {}, timeout=timeout)
        await clock.sleeper(2)  # its deadline and its sleep
        await clock.advance(seconds)
        return failure(await handle.result())


async def test_a_sleep_of_an_hour_takes_no_time_on_a_clock_that_is_moved(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_host(
        tmp_path, {"sleeps": SLEEPS}, clock=clock, limits__cast_seconds="7200"
    ) as host:
        async with asyncio.timeout(10):
            handle = await host.start("sleeps", {})
            await clock.sleeper(2)
            await clock.advance(3600)
            assert (await handle.result()).output == "awake"


# --- a source text


async def test_a_chunk_is_cast_and_gives_what_it_returns(host: Host) -> None:
    assert (await host.cast_source("chunk", "return 1 + 1", {})).output == 2
    assert (await host.cast_source("chunk", "return nil", {})).output is None


@pytest.mark.parametrize("source", ["return print", "return { f = function() end }"])
async def test_a_text_that_returns_a_function_has_no_result(source: str, host: Host) -> None:
    outcome = await host.cast_source("chunk", source, {})
    assert outcome.error is not None
    assert outcome.error["code"] == "output.invalid"
    assert "a function" in outcome.error["message"]


async def test_a_chunk_may_cast_what_is_published(host: Host) -> None:
    source = "return Spell.get('typed'):cast { text = 'ab', count = 1 }.text"
    assert (await host.cast_source("chunk", source, {})).output == "ab"


async def test_a_source_that_returns_a_spell_is_cast_with_the_input(host: Host) -> None:
    assert (await host.cast_source("x.lua", ANYTHING, {"value": 7})).output == 7
    outcome = await host.cast_source("x.lua", TYPED, {})
    assert failure(outcome)["code"] == "input.invalid"


async def test_a_source_that_returns_nothing_gives_the_result_of_its_last_cast(
    host: Host,
) -> None:
    source = """
    local spell = Spell.create { name = "own", run = function(input) return input.n end }
    spell:cast { n = 1 }
    local result = spell:cast { n = 2 }
    """
    assert (await host.cast_source("x.lua", source, {})).output == 2


async def test_a_source_that_is_not_lua_is_a_failed_run_with_its_line(host: Host) -> None:
    error = failure(await host.cast_source("x.lua", "local a =\nreturn }", {}))
    assert error["code"] == "spec.syntax"
    assert error["where"] == "x.lua:2"


# --- the end of a host


async def test_a_closed_host_takes_no_cast(tmp_path: Path) -> None:
    async with open_host(tmp_path, {"anything": ANYTHING}) as host:
        pass
    with pytest.raises((InternalError, SpellNotFound)):
        await host.cast("anything", {})


async def test_a_project_without_spells_publishes_nothing_and_says_so(tmp_path: Path) -> None:
    write_spells(tmp_path, {})
    async with open_host(tmp_path) as host:
        assert host.catalogue().spells == ()
        with pytest.raises(SpellNotFound) as caught:
            await host.cast("hello", {})
        assert "llmspell check" in caught.value.hint
