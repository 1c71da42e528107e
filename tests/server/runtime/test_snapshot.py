from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.runtime import wire
from llmspell.runtime.lua.cell import Cell, compile_kernel
from llmspell.runtime.lua.cells import Cells
from llmspell.runtime.lua.native import missing_library
from llmspell.runtime.lua.snapshot import SnapshotCell
from tests.support.frames import events_of

KERNEL = compile_kernel()
MEMORY = 32 << 20

STEPS = (
    "local t = {} for i = 1, N do t[i] = {} end KEPT = t",
    "local t = {} for i = 1, N do t['k' .. i] = i end for i = 1, N, 2 do t['k' .. i] = nil end",
    "local s = '' for i = 1, N % 300 do s = s .. ('x'):rep(i * 37 % 3000) end KEPT = s",
    "local s = ('y'):rep(N * 1000) KEPT = { s, s:sub(2), s:upper() }",
    "for i = 1, N do local f = function() return i + N end KEPT = f end",
    "local co = coroutine.wrap(function() for i = 1, N do coroutine.yield({ i }) end end) "
    "for i = 1, N do co() end",
    "collectgarbage()",
    "KEPT = nil",
    "local t = {} for i = 1, N do t[#t + 1] = tostring(i) end KEPT = table.concat(t)",
    "pcall(function() error({ N }) end)",
)
CODE = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 2000)), max_size=8).map(
    lambda steps: "\n".join(step.replace("N", str(count)) for step, count in steps)
)


@pytest.fixture(scope="module")
def cell() -> SnapshotCell:
    return SnapshotCell(KERNEL)


def ran(cell: Cell | SnapshotCell, body: str, *, heap_bytes: int = MEMORY) -> list[list[Any]]:
    """Return what is said of a function of this body, called with no argument."""
    source = f"return {{ run = function()\n{body}\nend }}".encode()
    cell.begin(wire.pack_program("t.lua", source, {}), heap_bytes=heap_bytes, message_bytes=8 << 20)
    messages: list[list[Any]] = [["load", {"context": {"now": 0.0}}], ["call", 1, 1, [], False, ""]]
    (frame,) = wire.frames([wire.pack(message) for message in messages], 1 << 30)
    return events_of(cell.exchange(frame))


def result(cell: Cell | SnapshotCell, body: str) -> Any:
    _, (kind, _, ok, value) = ran(cell, body)
    assert (kind, ok) == ("done", True)
    return value


def test_the_library_is_there_wherever_a_compiler_was() -> None:
    assert missing_library() == ""


def test_both_kinds_of_states_answer_alike(cell: SnapshotCell) -> None:
    for body in ("return 1", "error('no')", "return { a = { 1, 2.5, 'x' } }", "sleep(1)"):
        assert ran(cell, body) == ran(Cell(KERNEL), body)
        cell.restore()


@pytest.mark.parametrize(
    "body",
    [
        "GLOBAL = 1",
        "string.extra = 1",
        "function string.upper() return 'mine' end",
        "getmetatable('').__index = nil",
        "rawset(table, 'concat', nil)",
        "for name in pairs(_G) do _G[name] = nil end",
        "Schema.string = nil",
        "math.randomseed(1)",
        "setmetatable({}, { __gc = function() string.gone = 1 end }) collectgarbage()",
        "for i = 1, 1000 do State['m' .. i] = i end",
    ],
)
def test_nothing_a_script_does_is_seen_by_the_next(cell: SnapshotCell, body: str) -> None:
    cell.restore()
    before = cell.image()
    ran(cell, body)
    cell.restore()
    assert cell.image() == before
    assert result(cell, "return ('a'):upper() .. table.concat({ 1, 2 }) .. tostring(GLOBAL)") == (
        "A12nil"
    )
    cell.restore()


@given(CODE)
@pytest.mark.hypothesis
@settings(max_examples=25, deadline=None)
def test_every_script_finds_the_same_bytes_and_says_the_same(code: str) -> None:
    cell = _shared()
    before = cell.image()
    first = ran(cell, code)
    cell.restore()
    assert cell.image() == before
    assert ran(cell, code) == first
    cell.restore()


def test_a_script_without_memory_is_told_so_and_the_state_serves_on(cell: SnapshotCell) -> None:
    hungry = "local t = {} for i = 1, 1e9 do t[i] = ('z'):rep(1000) .. i end"
    for body in (
        hungry,
        "local s = 'ab' while true do s = s .. s end",
    ):
        events = ran(cell, body)
        assert "limit.memory" in str(events[-1])
        cell.restore()
        assert result(cell, "return 'well'") == "well"
        cell.restore()


def test_memory_is_given_back_with_the_state() -> None:
    code = """
import resource
from tests.server.runtime.test_snapshot import KERNEL, SnapshotCell, ran
cell = SnapshotCell(KERNEL)
def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(3):
    ran(cell, "KEPT = {} for i = 1, 100000 do KEPT[i] = { i, ('v'):rep(40) } end")
    cell.restore()
before = most()
for _ in range(20):
    ran(cell, "KEPT = {} for i = 1, 100000 do KEPT[i] = { i, ('v'):rep(40) } end")
    cell.restore()
print(most() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) < 4096  # KiB: the scripts hold a thousand times that in all


@pytest.mark.parametrize("set_back", [True, False])
def test_states_are_handed_out_in_turn_whether_they_can_be_set_back_or_not(set_back: bool) -> None:
    cells = Cells(KERNEL, set_back=set_back)
    for _ in range(3):
        cell = cells.take(hook_seconds=0.0)
        assert isinstance(cell, SnapshotCell) is set_back
        assert result(cell, "local seen = SEEN SEEN = true return tostring(seen)") == "nil"
        del cell
        cells.renew()
    assert "limit.wall_clock" in str(ran(cells.take(hook_seconds=0.01), "while true do end"))


def test_a_checkout_without_the_library_says_so(tmp_path: Path) -> None:
    code = f"""
import shutil, sys
from pathlib import Path
import llmspell
target = Path({str(tmp_path)!r}) / "llmspell"
shutil.copytree(Path(llmspell.__file__).parent, target, ignore=shutil.ignore_patterns("*.so"))
for name in [name for name in sys.modules if name.split(".")[0] == "llmspell"]:
    del sys.modules[name]
sys.path.insert(0, {str(tmp_path)!r})
from llmspell.runtime.lua.native import missing_library
assert str(Path({str(tmp_path)!r})) in missing_library(), missing_library()
"""
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


_shared_cells: list[SnapshotCell] = []


def _shared() -> SnapshotCell:
    if not _shared_cells:
        _shared_cells.append(SnapshotCell(KERNEL))
    return _shared_cells[0]
