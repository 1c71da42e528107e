"""Reading Lua: whatever is given comes to an end, and Lua is read as Lua reads it."""

from __future__ import annotations

import pytest
from hypothesis import given

from llmspell.authoring.syntax import MAX_BYTES, Node, parse, string_value
from tests.server.authoring.lua_texts import NEARLY


def tree(source: str) -> Node:
    found = parse(source.encode())
    assert found is not None
    return found


@given(NEARLY)
def test_any_text_is_read_without_a_crash_and_every_line_is_one_of_it(source: bytes) -> None:
    found = parse(source)
    assert found is not None
    lines = source.count(b"\n") + 1
    for node in found.all("identifier", "string", "number"):
        assert 1 <= node.line <= lines


@pytest.mark.parametrize(
    "source",
    [
        b"(" * 20_000 + b"1" + b")" * 20_000,
        b"return " + b"{" * 100_000,
        b"return 1" + b" + 1" * 50_000,
        b"return a" + b".b" * 50_000,
        b"[" * 200_000,
        b"[[" * 100_000,
        b"x = " * 60_000,
        b'("' * 100_000,
        b"\0" * 200_000,
        b"\xff" * 200_000,
        b"if " * 80_000,
    ],
    ids=lambda source: repr(source[:8]),
)
def test_deep_and_torn_texts_come_to_an_end(source: bytes) -> None:
    found = parse(source)
    assert found is None or len(list(found.all("identifier"))) >= 0


def test_a_text_that_is_too_long_is_not_read() -> None:
    assert parse(b" " * MAX_BYTES) is not None
    assert parse(b" " * (MAX_BYTES + 1)) is None


def test_comments_are_left_out_and_lines_are_counted() -> None:
    found = tree("-- x\n--[[ y\n]] local z -- w\n")
    assert [(node.text, node.line) for node in found.all("identifier")] == [("z", 3)]
    assert [node.kind for node in found.children] == ["variable_declaration"]


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ('"plain"', "plain"),
        ("'single'", "single"),
        ("[[long]]", "long"),
        ("[==[ [[x]] ]==]", " [[x]] "),
        ("[[\nfirst line break is no part]]", "first line break is no part"),
        (r'"a\"b"', 'a"b'),
        ('""', ""),
    ],
)
def test_a_string_is_the_text_it_stands_for(literal: str, value: str) -> None:
    [node] = tree(f"return {literal}").all("string")
    assert string_value(node) == value


def test_what_is_no_string_has_no_text() -> None:
    [node] = tree("return 1").all("number")
    assert string_value(node) is None
    assert string_value(None) is None


def test_a_key_in_brackets_is_told_from_a_name() -> None:
    fields = list(tree("return { a = 1, [b] = 2, ['c'] = 3, 4 }").all("field"))
    assert sorted(field.text for field in fields) == ["", "", "[", "["]
