"""Editing JSON with comments: the entry comes and goes, and no other byte moves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.cli.clients import edits
from llmspell.cli.clients.jsonc import Document, JsoncError, ObjectNode, parse, to_value

ENTRY = {"command": "/opt/ü/llmspell", "args": ["--project", "/p", "stdio"]}
KEYS = ("mcpServers",)
NAME = "llmspell"

WHITE = st.sampled_from(["", "", " ", "\t", "\n", "\r\n", "\n\n  "])
COMMENT = st.sampled_from(['// a, "b": {}\n', "//\r\n", "/* } */", "/* one\n two */", "/**/"])
TRIVIA = st.lists(st.one_of(WHITE, WHITE, COMMENT), max_size=3).map("".join)
SCALARS = st.one_of(
    st.text(max_size=6), st.integers(), st.booleans(), st.none(), st.just(1.5e3), st.just("//")
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
SERVERS = st.dictionaries(st.text(max_size=4), VALUES, max_size=3)


@st.composite
def rendered(draw: st.DrawFn, value: Any) -> str:
    """Write a value down with white space, comments and trailing commas anywhere."""
    gap = lambda: draw(TRIVIA)  # noqa: E731  # a name for what stands everywhere
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        parts = [
            f"{gap()}{json.dumps(key, ensure_ascii=draw(st.booleans()))}{gap()}:{gap()}"
            f"{draw(rendered(inner))}{gap()}"
            for key, inner in members.items()
        ]
        opening, closing = "{}"
    elif isinstance(value, list):
        items = cast("list[Any]", value)
        parts = [f"{gap()}{draw(rendered(inner))}{gap()}" for inner in items]
        opening, closing = "[]"
    else:
        return json.dumps(value, ensure_ascii=draw(st.booleans()))
    trailing = "," if parts and draw(st.booleans()) else ""
    return opening + ",".join(parts) + trailing + gap() + closing


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Return a text and what it says: a client's file, with or without servers."""
    value: dict[str, Any] = draw(st.dictionaries(st.text(max_size=4), VALUES, max_size=2))
    if draw(st.booleans()):
        value["mcpServers"] = draw(SERVERS)
    value.pop(NAME, None)
    value.get("mcpServers", {}).pop(NAME, None)
    mark = "\ufeff" if draw(st.booleans()) else ""
    return mark + draw(TRIVIA) + draw(rendered(value)) + draw(TRIVIA), value


def inserted(text: str) -> tuple[str, list[edits.Splice]]:
    edit = edits.insert(parse(text), KEYS, NAME, ENTRY)
    return edits.apply(text, edit), edit


def comments(document: Document) -> list[str]:
    return [document.text[start:end] for start, end in document.comments]


@given(texts())
def test_what_is_read_is_what_was_written(given: tuple[str, dict[str, Any]]) -> None:
    text, value = given
    root = parse(text).root
    assert root is not None
    assert to_value(root) == value


@given(texts())
def test_an_insertion_adds_the_entry_and_moves_no_other_byte(
    given: tuple[str, dict[str, Any]],
) -> None:
    text, value = given
    after, edit = inserted(text)
    root = parse(after).root
    assert root is not None
    said = to_value(root)
    assert said == {**value, "mcpServers": {**value.get("mcpServers", {}), NAME: ENTRY}}
    assert list(said.get("mcpServers"))[-1] == NAME
    assert all(splice.old == "" for splice in edit)


@given(texts())
def test_an_insertion_turned_round_is_no_change(given: tuple[str, dict[str, Any]]) -> None:
    text, _ = given
    after, edit = inserted(text)
    assert edits.apply(after, edits.reverse(edit)) == text


@given(texts())
def test_a_removal_takes_the_entry_and_leaves_every_other_token(
    given: tuple[str, dict[str, Any]],
) -> None:
    text, value = given
    after, _ = inserted(text)
    document = parse(after)
    left = parse(edits.apply(after, edits.remove(document, KEYS, NAME)))
    assert left.root is not None
    assert to_value(left.root) == {**value, "mcpServers": value.get("mcpServers", {})}
    assert comments(left) == comments(parse(text))
    if value.get("mcpServers"):
        assert left.text == text


@given(texts(), st.data())
def test_any_member_can_be_removed(given: tuple[str, dict[str, Any]], data: st.DataObject) -> None:
    text, value = given
    servers = value.get("mcpServers")
    if not servers:
        return
    name = data.draw(st.sampled_from(sorted(servers)))
    left = parse(edits.apply(text, edits.remove(parse(text), KEYS, name)))
    assert left.root is not None
    del servers[name]
    assert to_value(left.root) == value


@given(texts())
def test_a_replacement_changes_the_value_alone(given: tuple[str, dict[str, Any]]) -> None:
    after, _ = inserted(given[0])
    edit = edits.replace(parse(after), KEYS, NAME, {"command": "other"})
    changed = edits.apply(after, edit)
    node = parse(changed).at((*KEYS, NAME))
    assert node is not None
    assert to_value(node) == {"command": "other"}
    assert edits.apply(changed, edits.reverse(edit)) == after
    assert len(edit) == 1


def read(reader: Callable[[str], Any], text: str) -> tuple[bool, Any]:
    try:
        return True, reader(text)
    except ValueError:
        return False, None


@given(st.text(alphabet='{}[]":, \n01eatu-.', max_size=30))
def test_whatever_json_reads_is_read_as_json_reads_it(text: str) -> None:
    is_json, value = read(json.loads, text)
    is_ours, document = read(parse, text)
    if is_json:
        assert is_ours
        assert to_value(document.root) == value
    elif is_ours and document.root is not None:
        # What is allowed besides, without comments: commas at the end.
        assert re.search(r",\s*[\]}]", text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{", 1),
        ('{\n  "a": 1\n  "b": 2\n}', 3),
        ('{"a": [1 2]}', 1),
        ("{\n// c\n'a': 1}", 3),
        ('{"a": 1} x', 1),
        ('{"a": /* never', 1),
        ('{"a": "\\x"}', 1),
        ('{"a": "b\n"}', 1),
        ("[" * 500, 1),
        ('{"a": nan}', 1),
        ("{,}", 1),
        ("9" * 5000, 1),
    ],
)
def test_a_text_that_is_not_json_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(JsoncError) as caught:
        parse(text)
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("text", "path", "line"), [("[]", (), 1), ('{\n"mcpServers": []}', KEYS, 2), ("7", (), 1)]
)
def test_an_entry_goes_into_objects_only(text: str, path: tuple[str, ...], line: int) -> None:
    with pytest.raises(edits.NotAnObject) as caught:
        inserted(text)
    assert (caught.value.path, caught.value.line) == (path, line)


@pytest.mark.parametrize("text", ["", "\ufeff", "// nothing yet", "\r\n"])
def test_a_text_without_a_value_gets_one(text: str) -> None:
    after, _ = inserted(text)
    root = parse(after).root
    assert root is not None
    assert to_value(root) == {"mcpServers": {NAME: ENTRY}}
    assert after.startswith(text)
    assert after.endswith("}\n")


def test_an_entry_is_indented_as_its_neighbours_are() -> None:
    text = '{\r\n\t"mcpServers": {\r\n\t\t"a": {"command": "x"} // mine\r\n\t}\r\n}\r\n'
    after, _ = inserted(text)
    assert after == (
        '{\r\n\t"mcpServers": {\r\n\t\t"a": {"command": "x"}, // mine\r\n'
        '\t\t"llmspell": {\r\n\t\t\t"command": "/opt/ü/llmspell",\r\n\t\t\t"args": [\r\n'
        '\t\t\t\t"--project",\r\n\t\t\t\t"/p",\r\n\t\t\t\t"stdio"\r\n\t\t\t]\r\n\t\t}\r\n\t}\r\n}\r\n'
    )


def test_a_file_on_one_line_stays_on_one_line() -> None:
    after, _ = inserted('{"mcpServers": {"a": 1}, "b": 2}')
    assert "\n" not in after
    assert after.startswith('{"mcpServers": {"a": 1, "llmspell": {"command": ')


def test_a_trailing_comma_is_kept() -> None:
    after, _ = inserted('{\n  "mcpServers": {\n    "a": 1,\n  },\n}\n')
    assert '    "a": 1,\n    "llmspell": {' in after
    assert after.endswith("    },\n  },\n}\n")


def test_of_two_members_of_one_name_the_last_counts() -> None:
    document = parse('{"mcpServers": {"a": 1}, "mcpServers": {"a": 2}}')
    node = document.at(("mcpServers", "a"))
    assert node is not None
    assert to_value(node) == 2
    assert isinstance(document.root, ObjectNode)


def test_an_edit_fits_its_own_text_only() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        edits.apply("ab", [edits.Splice(0, "b", "")])
