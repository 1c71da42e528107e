from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.runtime import wire
from llmspell.runtime.lua.cell import Cell, compile_kernel
from llmspell.values import JSON, FunctionRef, Object, canonical
from tests.support.frames import events_of

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
SCALARS = st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(
    SCALARS | st.none(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(TEXT, inner, max_size=6),
    max_leaves=30,
)

ECHO = b"""return {
  echo = function(value) return value end,
  parse = function(text) return json.decode(text) end,
  print = function(value) return json.encode(value) end,
}"""
KERNEL = compile_kernel()
ECHO_FUNCTION, PARSE_FUNCTION, PRINT_FUNCTION = 1, 2, 3


class Kernel:
    """A kernel in this process, with the functions of `ECHO` loaded."""

    def __init__(self) -> None:
        self._cell = Cell(KERNEL)
        program = wire.pack_program("t.lua", ECHO, {})
        self._cell.begin(program, heap_bytes=64 << 20, message_bytes=8 << 20)
        self.events(["load", {"context": {"now": 0.0}}])
        self._task = 0

    def events(self, *messages: list[Any]) -> list[list[Any]]:
        (frame,) = wire.frames([wire.pack(message) for message in messages], 1 << 30)
        return events_of(self._cell.exchange(frame))

    def call(self, function: int, value: JSON) -> tuple[bool, Any]:
        self._task += 1
        (done,) = self.events(["call", self._task, function, [value], False, ""])
        assert done[:2] == ["done", self._task]
        return done[2], done[3]


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return Kernel()


def without_nulls(value: JSON) -> JSON:
    """Return what a script sees: an absent field and a null one are the same in Lua."""
    if isinstance(value, dict):
        fields = cast(Object, value)
        return {key: without_nulls(item) for key, item in fields.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in cast("list[JSON]", value)]
    return value


def same(a: JSON, b: JSON) -> bool:
    """Compare as JSON text, so that 1 and 1.0 and true stay apart."""
    return canonical(a) == canonical(b)


@given(value=VALUES)
def test_a_value_comes_back_from_lua_as_it_went_in(kernel: Kernel, value: JSON) -> None:
    ok, back = kernel.call(ECHO_FUNCTION, value)
    assert ok, back
    assert same(back, without_nulls(value))


@given(value=VALUES)
def test_json_decode_in_lua_reads_what_python_wrote(kernel: Kernel, value: JSON) -> None:
    ok, back = kernel.call(PARSE_FUNCTION, msgspec.json.encode(value).decode())
    assert ok, back
    assert same(back, without_nulls(value))


@given(value=VALUES)
def test_json_encode_in_lua_writes_what_python_reads(kernel: Kernel, value: JSON) -> None:
    ok, text = kernel.call(PRINT_FUNCTION, value)
    assert ok, text
    assert same(msgspec.json.decode(text), without_nulls(value))


@given(value=VALUES)
def test_a_declaration_packs_to_the_bytes_the_kernel_writes(kernel: Kernel, value: JSON) -> None:
    source = b"return json.decode(" + _long_string(msgspec.json.encode(value)) + b")"
    cell = Cell(KERNEL)
    program = wire.pack_program("t.lua", source, {})
    cell.begin(program, heap_bytes=64 << 20, message_bytes=8 << 20)
    (frame,) = wire.frames([wire.pack(["load", {"context": {"now": 0.0}}])], 1 << 30)
    reply = cell.exchange(frame)
    ((name, declaration, _),) = events_of(reply)
    assert name == "loaded", declaration
    assert reply.endswith(wire.pack_declaration(declaration) + b"\x90")  # it names nothing


def _long_string(text: bytes) -> bytes:
    level = b"=" * 8
    while b"]" + level + b"]" in text:
        level += b"="
    return b"[" + level + b"[" + text + b"]" + level + b"]"


@pytest.mark.parametrize("value", [[], {}, [[]], {"a": {}}, {"a": []}, [None, 1], 1.0, 1, -0.0])
def test_empty_lists_objects_and_number_kinds_keep_their_kind(kernel: Kernel, value: JSON) -> None:
    ok, back = kernel.call(ECHO_FUNCTION, value)
    assert ok
    assert same(back, value)


def test_an_integer_beyond_64_bits_is_refused_in_words(kernel: Kernel) -> None:
    ok, error = kernel.call(ECHO_FUNCTION, {"n": 2**63})
    assert not ok
    assert error["code"] == "input.invalid"
    assert "64 bits" in error["message"]


def test_what_messagepack_cannot_hold_is_refused_before_it_is_sent() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for value in (2**64, "\ud800", endless, object()):
        with pytest.raises(ValueError, match=r"\S"):
            wire.pack(["answer", 1, True, value, 0.0])


def test_nesting_beyond_100_levels_is_refused_in_words(kernel: Kernel) -> None:
    value: JSON = 1
    for _ in range(200):
        value = [value]
    ok, error = kernel.call(ECHO_FUNCTION, value)
    assert not ok
    assert "100 levels" in error["message"]


def test_a_function_is_its_number_and_binary_is_base64_text() -> None:
    frame = msgspec.msgpack.encode(
        [
            [
                "done",
                1,
                True,
                [msgspec.msgpack.Ext(1, b"\0\0\0\7"), msgspec.msgpack.Ext(2, b"\xff\0")],
            ]
        ]
    )
    assert events_of(frame) == [["done", 1, True, [FunctionRef(7), "/wA="]]]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        b"\x91",
        b"\x81\x01\x02",
        msgspec.msgpack.encode([["done", 1, True, msgspec.msgpack.Ext(9, b"")]]),
        msgspec.msgpack.encode([["done", 1, True, {1: 2}, "more"]]),
        msgspec.msgpack.encode([["done", True, True, 1]]),
        msgspec.msgpack.encode([["note", 1, "model.call", {}, ":1"]]),
        msgspec.msgpack.encode([["unheard of"]]),
    ],
)
def test_a_frame_that_is_none_is_refused(frame: bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        wire.unpack(frame)


def test_messages_are_spread_over_frames_of_the_limit() -> None:
    made = wire.frames([b"\xa3abc", b"\xa3def", b"\xa3ghi"], 8)
    assert made == [b"\x92\xa3abc\xa3def", b"\x91\xa3ghi"]
    assert wire.frames([], 8) == [b"\x90"]
