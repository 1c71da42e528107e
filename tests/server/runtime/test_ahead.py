"""A program that comes again is loaded ahead of its scripts, and none of them can tell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from hypothesis import given, settings

from llmspell.errors import LimitMemory, LimitWallClock, SpecUnstable
from llmspell.runtime import wire
from llmspell.runtime.engine import Loaded, Program, ScriptContext, ScriptLimits
from llmspell.runtime.lua.cell import Cell
from llmspell.runtime.lua.engine import LuaEngine
from llmspell.runtime.lua.snapshot import SnapshotCell
from llmspell.values import JSON, FunctionRef
from tests.server.runtime.test_snapshot import CODE, KERNEL, MEMORY
from tests.support.frames import events_of
from tests.support.lua_scripts import drive, refuse_all

CASTS = 5
"""More than a program needs to be loaded ahead."""
LIMITS = ScriptLimits(slice_seconds=0.3)
COUNTER = b"""
local count = 0
string.extra = (string.extra or 0) + 1
return { run = function(input) count = count + 1 return { count, string.extra, input } end }
"""


def program_of(source: str) -> bytes:
    return wire.pack_program("spells/t.lua", source.encode(), {})


def frame(*messages: list[Any]) -> bytes:
    (packed,) = wire.frames([wire.pack(message) for message in messages], 1 << 30)
    return packed


def loading(expected: bytes | None = None) -> list[Any]:
    start: dict[str, Any] = {"context": {"now": 0.0}, "host_calls": 100, "steps": {}}
    return ["load", start if expected is None else {**start, "expected": expected}]


def declaration_of(program: bytes) -> bytes:
    cell = Cell(KERNEL)
    cell.begin(program, heap_bytes=MEMORY, message_bytes=8 << 20)
    (event,) = wire.unpack(cell.exchange(frame(loading())))
    assert isinstance(event, wire.LoadedEvent)
    return wire.pack_declaration(event.declaration)


_cells: list[SnapshotCell] = []


def shared_cell() -> SnapshotCell:
    if not _cells:
        _cells.append(SnapshotCell(KERNEL))
    cell = _cells[0]
    cell.forget()
    cell.restore()
    return cell


@given(CODE, CODE)
@pytest.mark.hypothesis
@settings(max_examples=25, deadline=None)
def test_a_script_whose_file_was_loaded_ahead_says_what_it_says_otherwise(
    top_level: str, body: str
) -> None:
    program = program_of(
        f"pcall(function()\n{top_level}\nend)\n"
        f"return {{ run = function()\n{body}\nreturn tostring(KEPT) end }}"
    )
    cast = frame(loading(declaration_of(program)), ["call", 1, 1, [], False, ""])
    cell = shared_cell()

    def said() -> list[list[Any]]:
        cell.begin(program, heap_bytes=MEMORY, message_bytes=8 << 20)
        return events_of(cell.exchange(cast))

    before = said()
    cell.restore()
    cell.begin(program, heap_bytes=MEMORY, message_bytes=8 << 20)
    if not cell.load_ahead(heap_bytes=MEMORY):
        return  # it needs more room than a picture has
    image = cell.image()
    for _ in range(2):
        assert said() == before
        cell.restore()
        assert cell.image() == image


def test_another_script_than_that_of_the_file_does_not_begin_there() -> None:
    program = program_of("return { run = function() return 1 end }")
    cell = shared_cell()
    others: list[list[Any]] = [
        ["main", loading()[1]],
        loading(),
        loading(b"\x80"),
        ["call", 1, 1, [], False, ""],
    ]
    for other in others:
        cell.begin(program, heap_bytes=MEMORY, message_bytes=8 << 20)
        assert cell.load_ahead(heap_bytes=MEMORY)
        with pytest.raises(ValueError, match="file that is loaded"):
            cell.exchange(frame(other))
        cell.forget()
        cell.restore()


@pytest.mark.parametrize(
    "source",
    [
        "error('no')",
        "syntax error",
        "State.set('k', 1) return {}",
        "local t = {} while true do t[#t + 1] = ('x'):rep(100) .. #t end",
        "KEPT = {} for i = 1, 5000 do KEPT[i] = { i } end return {}",
        "return { coroutine.create(print) }",
    ],
)
def test_what_cannot_be_loaded_ahead_leaves_no_trace(source: str) -> None:
    cell = shared_cell()
    before = cell.image()
    cell.begin(program_of(source), heap_bytes=8 << 20, message_bytes=8 << 20)
    assert not cell.load_ahead(heap_bytes=8 << 20)
    cell.restore()
    assert cell.image() == before


@pytest_asyncio.fixture
async def engine() -> AsyncIterator[LuaEngine]:
    engine = LuaEngine(idle_workers=1)
    yield engine
    await engine.close()


async def cast(
    engine: LuaEngine,
    source: bytes,
    input: JSON,
    *,
    declaration: JSON = None,
    limits: ScriptLimits = LIMITS,
    version: str = "v1",
    **context: Any,
) -> Any:
    """Cast a file as published: its declaration is known."""
    if declaration is None:
        declaration = {"run": FunctionRef(1)}
    program = Program("spells/t.lua", source, {}, version)
    whole = msgspec.structs.replace(
        ScriptContext(tenant="t", user="alice", now=1.0, seed=b"s"), **context
    )
    script = await engine.open(program, limits, whole, is_child=False)
    script.load(expected=declaration)
    try:
        task = script.call(FunctionRef(1), [input], with_context=True)
        return (await drive(script, task, refuse_all)).value
    finally:
        await script.close()


async def test_no_cast_sees_another_of_the_same_program(engine: LuaEngine) -> None:
    for number in range(CASTS):
        assert await cast(engine, COUNTER, number) == [1, 1, number]
    assert len(engine.worker_pids) <= 2  # the worker, and one kept ready


async def test_each_cast_has_its_own_context_time_and_random_numbers(engine: LuaEngine) -> None:
    source = (
        b"return { run = function(input, ctx) return { ctx.run_id, ctx.user, "
        b"now(), os.time(), os.clock(), random(1000000), uuid() } end }"
    )
    seen: list[Any] = []
    for number in range(CASTS):
        context: Any = {"run_id": f"run-{number}", "now": 10.0 + number, "seed": b"%d" % number}
        seen.append(await cast(engine, source, None, **context))
    assert [each[:5] for each in seen] == [
        [f"run-{number}", "alice", 10.0 + number, 10 + number, 0.0] for number in range(CASTS)
    ]
    assert len({each[5] for each in seen}) == len({each[6] for each in seen}) == CASTS
    again = await cast(engine, source, None, run_id="run-3", now=13.0, seed=b"3")
    assert again == seen[3]


async def test_a_declaration_that_differs_is_refused_however_often_the_file_was_cast(
    engine: LuaEngine,
) -> None:
    for number in range(CASTS):
        await cast(engine, COUNTER, number)
    with pytest.raises(SpecUnstable):
        await cast(engine, COUNTER, 0, declaration={"run": FunctionRef(1), "name": "other"})
    assert await cast(engine, COUNTER, 7) == [1, 1, 7]


async def test_limits_hold_for_a_file_that_was_loaded_ahead(engine: LuaEngine) -> None:
    source = (
        b"local kept = {} for i = 1, 1000 do kept[i] = i end\n"
        b"return { run = function(input)\n"
        b"  if input == 'loop' then\n"
        b"    while true do end\n"
        b"  elseif input == 'fill' then while true do kept[#kept + 1] = { kept } end end\n"
        b"  return #kept end }"
    )
    for _ in range(CASTS):
        assert await cast(engine, source, "no") == 1000
    with pytest.raises(LimitMemory):
        await cast(engine, source, "fill", limits=replace(LIMITS, heap_bytes=8 << 20))
    for _ in range(CASTS):
        assert await cast(engine, source, "no") == 1000
    with pytest.raises(LimitWallClock) as caught:
        await cast(engine, source, "loop")
    assert caught.value.where == "spells/t.lua:4"
    assert await cast(engine, source, "no") == 1000


async def test_messages_of_any_size_pass_a_worker(engine: LuaEngine) -> None:
    for size in (1, 100, 65_000, 65_524, 65_525, 65_536, 70_000, 3_000_000, 10, 2_000_000):
        text = "x" * size
        assert await cast(engine, COUNTER, text) == [1, 1, text]


async def test_a_file_too_large_to_be_kept_loaded_is_cast_as_before(engine: LuaEngine) -> None:
    source = (
        b"local t = {} for i = 1, 20000 do t[i] = { i } end "
        b"return { run = function(input) t[#t + 1] = input return #t end }"
    )
    for _ in range(CASTS):
        assert await cast(engine, source, 1) == 20_001


async def test_a_program_may_be_declared_anew_and_cast_in_between(engine: LuaEngine) -> None:
    for number in range(CASTS):
        assert await cast(engine, COUNTER, number) == [1, 1, number]
        program = Program("spells/t.lua", COUNTER, {}, "v1")
        context = ScriptContext(tenant="t", user="alice", now=1.0)
        script = await engine.open(program, LIMITS, context, is_child=False)
        script.load()
        (loaded,) = await script.exchange()
        assert isinstance(loaded, Loaded)
        assert loaded.declaration == {"run": FunctionRef(1)}
        await script.close()
