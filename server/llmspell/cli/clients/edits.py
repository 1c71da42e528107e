"""What to change in a text of JSON with comments so that one entry comes, changes or goes.

An edit is a list of splices, each a place and the text before and after; every
byte outside them stays: comments, order, indentation, line ends. An edit can be
turned round, which is how an insertion is undone to the byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from llmspell.cli.clients.jsonc import Document, Member, ObjectNode
from llmspell.values import JSON

INDENT = "  "
"""One level, where the text shows none of its own."""

_LINE_END = re.compile(r"\r\n|\n|\r")
_REST_OF_LINE = re.compile(r"[ \t]*(//[^\r\n]*|/\*.*?\*/)", re.DOTALL)
_LINE_ENDS_HERE = re.compile(r"[ \t]*(?:\r|\n)")
_LEADING = re.compile(r"[ \t]*")


class Splice(NamedTuple):
    """At `start`, `old` becomes `new`."""

    start: int
    old: str
    new: str


Edit = Sequence[Splice]
"""Splices in the order of their places, which don't overlap and count in the text before."""


class NotAnObject(ValueError):
    """Something that should hold entries is no object.

    Args:
        path: The keys that lead to it; empty for the whole text.
        line: Where it stands, counted from 1.
    """

    def __init__(self, path: tuple[str, ...], line: int) -> None:
        super().__init__(f"{'.'.join(path) or 'the text'} is not an object")
        self.path = path
        self.line = line


def apply(text: str, edit: Edit) -> str:
    """Return the text after an edit.

    Raises:
        ValueError: The edit is not one of this text.
    """
    parts: list[str] = []
    position = 0
    for start, old, new in edit:
        if start < position or text[start : start + len(old)] != old:
            raise ValueError("the edit does not fit the text")
        parts += (text[position:start], new)
        position = start + len(old)
    return "".join([*parts, text[position:]])


def reverse(edit: Edit) -> list[Splice]:
    """Return the edit that undoes this one."""
    undone: list[Splice] = []
    moved = 0
    for start, old, new in edit:
        undone.append(Splice(start + moved, new, old))
        moved += len(new) - len(old)
    return undone


def insert(document: Document, path: tuple[str, ...], name: str, value: JSON) -> list[Splice]:
    """Return the edit that adds `name` to the object at `path`, behind what it holds.

    Objects on the way that are missing are added too. `name` must not be there.

    Raises:
        NotAnObject: Something on the way is no object.
    """
    text = document.text
    if document.root is None:
        whole = _nested([*path, name], value)
        gap = "" if text in ("", "\ufeff") or text.endswith(("\n", "\r")) else _line_end(text)
        return [Splice(len(text), "", gap + _shown(whole, "", _line_end(text), INDENT) + "\n")]
    node = document.root
    for depth, key in enumerate((*path, name)):
        if not isinstance(node, ObjectNode):
            raise NotAnObject(path[:depth], document.line(node.start))
        member = node.member(key)
        if member is None or depth == len(path):
            return _insert_member(document, node, key, _nested((*path, name)[depth + 1 :], value))
        node = member.value
    raise AssertionError("the loop returns")


def replace(document: Document, path: tuple[str, ...], name: str, value: JSON) -> list[Splice]:
    """Return the edit that gives the existing `name` at `path` another value."""
    member = _member(document, path, name)
    old = document.text[member.value.start : member.value.end]
    is_inline = _LINE_END.search(old) is None and _is_inline(document)
    indent = _indent_of_line(document.text, member.start)
    new = _shown(
        value, indent, _line_end(document.text), "" if is_inline else _indent_unit(document)
    )
    return [Splice(member.value.start, old, new)]


def remove(document: Document, path: tuple[str, ...], name: str) -> list[Splice]:
    """Return the edit that takes the existing `name` out of the object at `path`.

    Its comma and the white space before it go too; comments stay.
    """
    text = document.text
    parent = document.at(path)
    member = _member(document, path, name)
    assert isinstance(parent, ObjectNode)
    if len(parent.members) == 1 and not parent.comments:
        return [_cut(text, parent.start + 1, parent.end - 1)]
    splices = [_cut(text, _start_of_cut(text, member), member.value.end)]
    if member.comma is not None:
        splices.append(_cut(text, member.comma, member.comma + 1))
    elif len(parent.members) > 1:
        # It was the last: the comma before it would be left over.
        previous = parent.members[-2]
        assert previous.comma is not None
        splices.insert(0, _cut(text, previous.comma, previous.comma + 1))
    return splices


def _start_of_cut(text: str, member: Member) -> int:
    """Return where a member's white space begins; what follows must not join a `//` comment."""
    end = member.value.end
    if member.comma is not None and not text[end : member.comma].strip():
        end = member.comma + 1
    if not member.after_line_comment or _LINE_ENDS_HERE.match(text, end):
        return member.before
    found = _LINE_END.match(text, member.before)
    assert found is not None
    return found.end()


def _cut(text: str, start: int, end: int) -> Splice:
    return Splice(start, text[start:end], "")


def _member(document: Document, path: tuple[str, ...], name: str) -> Member:
    parent = document.at(path)
    member = parent.member(name) if isinstance(parent, ObjectNode) else None
    if member is None:
        raise KeyError(name)
    return member


def _nested(keys: Sequence[str], value: JSON) -> JSON:
    for key in reversed(keys):
        value = {key: value}
    return value


def _insert_member(document: Document, parent: ObjectNode, key: str, value: JSON) -> list[Splice]:
    text = document.text
    end, outer = _line_end(text), _indent_of_line(text, parent.start)
    last = parent.members[-1] if parent.members else None
    comma = "," if last is not None and last.comma is not None else ""
    if _is_inline(document, parent):
        member = f"{json.dumps(key)}: {_shown(value, '', end, '')}"
        if last is None:
            return [Splice(parent.tail, "", member)]
        if last.comma is not None:
            return [Splice(last.comma + 1, "", f" {member},")]
        return [Splice(last.value.end, "", f", {member}")]
    unit = _indent_unit(document)
    inner = outer + unit if last is None else _indent_of_line(text, last.start)
    member = f"{end}{inner}{json.dumps(key, ensure_ascii=False)}: {_shown(value, inner, end, unit)}"
    if last is None:
        closes_alone = _LINE_END.search(text, parent.tail, parent.end) is not None
        return [Splice(parent.tail, "", member if closes_alone else f"{member}{end}{outer}")]
    if last.comma is not None:
        return [Splice(_behind_comments(text, last.comma + 1), "", member + comma)]
    at = _behind_comments(text, last.value.end)
    if at == last.value.end:
        return [Splice(at, "", f",{member}")]
    return [Splice(last.value.end, "", ","), Splice(at, "", member)]


def _behind_comments(text: str, position: int) -> int:
    """Return where the comments end that begin on the same line: they are about what is before."""
    while (found := _REST_OF_LINE.match(text, position)) is not None:
        position = found.end()
    return position


def _is_inline(document: Document, parent: ObjectNode | None = None) -> bool:
    """Return whether an object's members stand on the line of its brace."""
    text = document.text
    if parent is None or not parent.members:
        root = document.root
        assert root is not None
        return (
            isinstance(root, ObjectNode)
            and bool(root.members)
            and _LINE_END.search(text, root.start, root.end) is None
        )
    return _LINE_END.search(text, parent.start, parent.members[-1].start) is None


def _line_end(text: str) -> str:
    found = _LINE_END.search(text)
    return found.group() if found is not None else "\n"


def _indent_of_line(text: str, position: int) -> str:
    """Return the white space the line of `position` begins with."""
    begin = max(text.rfind("\n", 0, position), text.rfind("\r", 0, position)) + 1
    if begin == 0 and text.startswith("\ufeff"):
        begin = 1
    found = _LEADING.match(text, begin)
    assert found is not None
    return found.group()


def _indent_unit(document: Document) -> str:
    """Return one level of indentation, as the first member of the text shows it."""
    root = document.root
    if isinstance(root, ObjectNode) and root.members:
        outer = _indent_of_line(document.text, root.start)
        inner = _indent_of_line(document.text, root.members[0].start)
        if len(inner) > len(outer):
            return inner[len(outer) :]
    return INDENT


def _shown(value: JSON, outer: str, end: str, unit: str) -> str:
    """Return a value as text: on one line without a unit of indentation."""
    if not unit:
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value, indent=unit, ensure_ascii=False).replace("\n", end + outer)
