"""How the bridge cuts a stream into lines, and tells requests from answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.bridge.lines import (
    Lines,
    answered,
    cancelled_key,
    error_line,
    is_request,
    key_of,
    member,
    message_of,
    result_line,
)

LINES = st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")))


@given(LINES, st.integers(1, 9))
def test_lines_are_the_same_however_the_stream_is_cut(lines: list[bytes], size: int) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    cutter = Lines()
    found: list[bytes | None] = []
    for start in range(0, len(stream), size):
        found += cutter.feed(stream[start : start + size])
    assert found == lines
    assert cutter.end() == []


def test_what_stands_before_the_end_of_the_stream_is_a_line() -> None:
    cutter = Lines()
    assert cutter.feed(b"one\ntwo") == [b"one"]
    assert cutter.end() == [b"two"]


@given(LINES, st.integers(1, 9), st.integers(1, 10))
def test_a_line_over_the_limit_leaves_a_mark_and_the_others_stay(
    lines: list[bytes], size: int, limit: int
) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    cutter = Lines(limit)
    found: list[bytes | None] = []
    for start in range(0, len(stream), size):
        found += cutter.feed(stream[start : start + size])
    assert found == [line if len(line) <= limit else None for line in lines]


@pytest.mark.parametrize("identifier", [1, -7, "a", "", 'with "quotes"', 1.5, None])
@pytest.mark.parametrize("spaced", [True, False])
@pytest.mark.parametrize("outcome", ["result", "error"])
def test_an_answer_is_known_in_every_spelling(identifier: Any, spaced: bool, outcome: str) -> None:
    separators = (", ", ": ") if spaced else (",", ":")
    body = {"jsonrpc": "2.0", "id": identifier, outcome: {"a": 1}}
    good = outcome == "result"
    for message in (body, dict(reversed(body.items()))):
        line = json.dumps(message, separators=separators).encode()
        assert answered(line) == (key_of(identifier), good)


def test_requests_and_notifications_answer_nothing() -> None:
    assert answered(b'{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{}}') is None
    assert answered(b'{"jsonrpc":"2.0","method":"notifications/progress"}') is None
    assert answered(b"no json") is None


@pytest.mark.parametrize("line", [b"{", b"nonsense", b"[" * 100_000, b"\xff\xfe"])
def test_what_is_not_json_is_no_message(line: bytes) -> None:
    assert message_of(line) is None


@pytest.mark.parametrize("identifier", [True, None, 1.5, [], "\ud800"], ids=repr)
def test_a_request_has_an_id_that_can_be_sent_back(identifier: Any) -> None:
    assert is_request({"id": 7, "method": "ping"})
    assert is_request({"id": "\U0001f600", "method": "ping"})
    assert not is_request({"id": identifier, "method": "ping"})
    assert not is_request({"id": 7})


def test_only_an_object_is_a_message() -> None:
    assert message_of(b'{"id":1}') == {"id": 1}
    assert message_of(b'[{"id":1},{"id":2},3]') is None
    assert message_of(b"17") is None


def test_a_member_is_found_through_objects_only() -> None:
    value = {"params": {"_meta": {"a/b": 1}, "list": [1]}}
    assert member(value, "params", "_meta", "a/b") == 1
    assert member(value, "params", "list", "x") is None
    assert member(value, "nothing", "at", "all") is None
    assert member(None, "x") is None


def test_a_result_is_one_line_of_json_rpc() -> None:
    line = result_line("x", {"a": 1})
    assert line.endswith(b"\n")
    assert json.loads(line) == {"jsonrpc": "2.0", "id": "x", "result": {"a": 1}}


def test_a_cancelled_request_is_named_by_its_notification() -> None:
    assert cancelled_key({"params": {"requestId": 4}}) == key_of(4)
    assert cancelled_key({}) == ""


def test_an_error_is_one_line_of_json_rpc() -> None:
    line = error_line("x", -32000, "m", {"code": "c"})
    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "jsonrpc": "2.0",
        "id": "x",
        "error": {"code": -32000, "message": "m", "data": {"code": "c"}},
    }
