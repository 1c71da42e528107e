"""Random bytes as frames, into the codec of a state that runs: it answers, or it refuses.

Every frame goes into a process of its own kind: what would bring lupa or Lua to
crash brings that process to crash, and is seen.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from typing import Any, cast

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attacks.house import SOAKS
from tests.support.frames import events_of

_CELLS = """
import sys
from llmspell.runtime.lua.cell import Cell, compile_kernel
from llmspell.runtime.lua.snapshot import SnapshotCell
kernel = compile_kernel()
set_back = SnapshotCell(kernel)
for line in sys.stdin:
    program, *frames = (bytes.fromhex(part) for part in line.strip().split(","))
    replies = []
    for cell in (Cell(kernel), set_back):
        cell.begin(program, heap_bytes=16 << 20, message_bytes=1 << 20)
        replies.append([cell.exchange(frame) for frame in frames])
    set_back.restore()
    assert replies[0] == replies[1], replies
    print(",".join(reply.hex() for reply in replies[0]), flush=True)
"""

SOURCE = b"return function(...) local t = { ... } return t[1] end"
PROGRAM = msgspec.msgpack.encode([{"name": "a.lua", "source": SOURCE, "modules": {}}])
CONTEXT = {
    **dict.fromkeys(("run_id", "session", "user", "tenant"), "x"),
    "deadline": None,
    "now": 1.0,
    "seed": b"x",
    "message": None,
}
LOAD = msgspec.msgpack.encode([["load", {"context": CONTEXT}]])

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=30)
    | st.binary(max_size=30)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(SCALARS, inner, max_size=5)
)
MESSAGES = st.one_of(
    st.tuples(st.just("call"), VALUES, VALUES, st.lists(VALUES, max_size=3), st.booleans()),
    st.tuples(st.just("answer"), VALUES, st.booleans(), VALUES, st.floats(0, 1e9)),
    st.tuples(st.just("main"), VALUES),
    st.tuples(st.text(max_size=8), VALUES),
)
FRAMES = st.one_of(
    st.binary(max_size=100),
    st.lists(MESSAGES, max_size=3).map(msgspec.msgpack.encode),
    st.tuples(st.lists(MESSAGES, min_size=1, max_size=3), st.integers(0, 200)).map(
        lambda pair: msgspec.msgpack.encode(pair[0])[: pair[1]]
    ),
)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=10), inner),
)

MANY = settings(max_examples=2000 if SOAKS else 100, suppress_health_check=[HealthCheck.too_slow])


class Cells:
    """A process that gives frames to fresh states, one line a state."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CELLS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": ":".join(sys.path)},
            text=True,
        )

    def exchange(self, *frames: bytes) -> list[bytes]:
        """Return the replies of a fresh state to these frames."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = ",".join(part.hex() for part in (PROGRAM, *frames))
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the process ended with {self._process.wait(10)} over {line}"
        return [bytes.fromhex(part) for part in answer.strip().split(",")]

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=10)


@pytest.fixture(scope="module")
def cells() -> Generator[Cells]:
    opened = Cells()
    yield opened
    opened.close()


def call(value: Any) -> bytes:
    return msgspec.msgpack.encode([["call", 1, 1, [value], False, ""]])


@MANY
@given(frame=FRAMES)
def test_a_frame_of_any_bytes_is_answered_with_a_frame(cells: Cells, frame: bytes) -> None:
    loaded, reply, *_ = cells.exchange(LOAD, frame, call(1))
    assert events_of(loaded)[0][0] == "loaded"
    assert isinstance(events_of(reply), list)


@MANY
@given(value=JSON_VALUES)
def test_a_value_comes_back_as_it_went_in(cells: Cells, value: Any) -> None:
    _, reply = cells.exchange(LOAD, call(value))
    ((kind, task, ok, back),) = events_of(reply)
    assert (kind, task, ok) == ("done", 1, True)
    assert without_nothing(back) == without_nothing(value)


@pytest.mark.parametrize(
    "head", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"]
)
def test_a_length_that_promises_more_than_there_is_is_survived(cells: Cells, head: bytes) -> None:
    frame = b"\x91\x95\xa4call\x01\x01\x91" + head + b"\xc2"
    loaded, reply = cells.exchange(LOAD, frame)
    assert events_of(loaded)[0][0] == "loaded"
    assert events_of(reply)[0][0] in ("done", "failed")


def without_nothing(value: Any) -> Any:
    """Return the value without fields that are null: in Lua they are not there."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {key: without_nothing(item) for key, item in fields.items() if item is not None}
    if isinstance(value, list):
        return [without_nothing(item) for item in cast("list[Any]", value)]
    return value
