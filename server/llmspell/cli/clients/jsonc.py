"""JSON with comments as clients write it, read with the place of everything.

Comments (`//`, `/* */`), trailing commas and a byte order mark are allowed; all
else is JSON (RFC 8259). Nothing is written here: `edits` says what to change in
a text, `Document` only where things stand in it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import NoReturn

from llmspell.values import JSON

MAX_DEPTH = 100
"""Deepest nesting that is read; no client's file comes near it."""

_BLANK = re.compile(r"[ \t\r\n]*")
_LINE_COMMENT = re.compile(r"//[^\r\n]*")
_BLOCK_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORD = re.compile(r"true|false|null")


class JsoncError(ValueError):
    """A text is not JSON with comments.

    Args:
        message: What is wrong.
        line: Where, counted from 1.
    """

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


@dataclass(frozen=True, slots=True)
class Scalar:
    """A string, number, boolean or null."""

    start: int
    end: int
    value: JSON


@dataclass(frozen=True, slots=True)
class Array:
    """A JSON array."""

    start: int
    end: int
    items: list[Node]


@dataclass(frozen=True, slots=True)
class Member:
    """One `"key": value` of an object."""

    key: str
    start: int
    """Where the key's quote stands."""
    value: Node
    comma: int | None
    """Where the comma behind it stands; None without one."""
    before: int
    """Where the token before it ends: a brace, a comma or a comment."""
    after_line_comment: bool
    """Whether that token is a comment that goes on to the end of its line."""


@dataclass(frozen=True, slots=True)
class ObjectNode:
    """A JSON object."""

    start: int
    end: int
    members: list[Member]
    tail: int
    """Where the last token inside its braces ends, comments among them."""
    comments: bool
    """Whether a comment stands directly in it, outside its members' values."""

    def member(self, key: str) -> Member | None:
        """Return the member of this name; of several the last, which is the one that counts."""
        return next((each for each in reversed(self.members) if each.key == key), None)


Node = Scalar | Array | ObjectNode


@dataclass(frozen=True, slots=True)
class Document:
    """A text and what it says."""

    text: str
    root: Node | None
    """None when the text holds nothing but white space and comments."""
    comments: list[tuple[int, int]]
    """Where each comment starts and ends."""

    def at(self, path: tuple[str, ...]) -> Node | None:
        """Return the value at a path of keys; None when there is none."""
        node = self.root
        for key in path:
            member = node.member(key) if isinstance(node, ObjectNode) else None
            if member is None:
                return None
            node = member.value
        return node

    def line(self, offset: int) -> int:
        """Return the line an offset is on, counted from 1."""
        return _line(self.text, offset)


def to_value(node: Node) -> JSON:
    """Return what a node says, without where it stands."""
    if isinstance(node, ObjectNode):
        return {member.key: to_value(member.value) for member in node.members}
    if isinstance(node, Array):
        return [to_value(item) for item in node.items]
    return node.value


def parse(text: str) -> Document:
    """Read a text.

    Raises:
        JsoncError: It is not JSON with comments, or nested deeper than `MAX_DEPTH`.
    """
    reader = _Reader(text)
    reader.skip()
    root = None if reader.at_end() else reader.value(0)
    reader.skip()
    if not reader.at_end():
        reader.fail("something stands behind the value")
    return Document(text, root, reader.comments)


def _line(text: str, offset: int) -> int:
    return len(re.findall(r"\r\n|\r|\n", text[:offset])) + 1


@dataclass(slots=True)
class _Reader:
    text: str
    position: int = 0
    token_end: int = 0
    """Where the last token or comment ended."""
    comments: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def __post_init__(self) -> None:
        if self.text.startswith("\ufeff"):
            self.position = self.token_end = 1

    def at_end(self) -> bool:
        return self.position == len(self.text)

    def fail(self, message: str) -> NoReturn:
        raise JsoncError(message, _line(self.text, self.position))

    def skip(self) -> None:
        """Pass over white space and comments."""
        while True:
            blank = _BLANK.match(self.text, self.position)
            assert blank is not None
            self.position = blank.end()
            if not self.text.startswith("/", self.position):
                return
            comment = _LINE_COMMENT.match(self.text, self.position)
            comment = comment or _BLOCK_COMMENT.match(self.text, self.position)
            if comment is None:
                self.fail("a comment that does not end")
            self.comments.append(comment.span())
            self._move(comment.end())

    def value(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            self.fail(f"nested deeper than {MAX_DEPTH}")
        start = self.position
        character = self.text[start : start + 1]
        if character == "{":
            return self._object(depth)
        if character == "[":
            return self._array(depth)
        if character == '"':
            text = self._string()
            return Scalar(start, self.position, text)
        found = _NUMBER.match(self.text, start) or _WORD.match(self.text, start)
        if found is None:
            self.fail("a value was expected" if character else "the text ends too early")
        try:
            value: JSON = json.loads(found.group())
        except ValueError:
            self.fail("a number with too many digits")
        self._move(found.end())
        return Scalar(start, found.end(), value)

    def _move(self, position: int) -> None:
        self.position = self.token_end = position

    def _string(self) -> str:
        found = _STRING.match(self.text, self.position)
        if found is None:
            self.fail("a string that does not end, or holds a control character")
        try:
            value: str = json.loads(found.group())
        except ValueError:
            self.fail("a string with an unknown escape")
        self._move(found.end())
        return value

    def _take(self, character: str) -> bool:
        if not self.text.startswith(character, self.position):
            return False
        self._move(self.position + 1)
        return True

    def _array(self, depth: int) -> Array:
        start = self.position
        self._take("[")
        items: list[Node] = []
        self.skip()
        while not self._take("]"):
            items.append(self.value(depth + 1))
            self.skip()
            if not self._take(",") and not self.text.startswith("]", self.position):
                self.fail("',' or ']' was expected")
            self.skip()
        return Array(start, self.position, items)

    def _object(self, depth: int) -> ObjectNode:
        start = self.position
        self._take("{")
        members: list[Member] = []
        comments = self._skip_counted()
        while not self.text.startswith("}", self.position):
            before, at = self.token_end, self.position
            is_open = bool(self.comments) and self.comments[-1][1] == before
            is_open = is_open and self.text.startswith("//", self.comments[-1][0])
            if not self.text.startswith('"', self.position):
                self.fail(
                    "a key in quotes was expected" if at < len(self.text) else "'}' is missing"
                )
            key = self._string()
            comments += self._skip_counted()
            if not self._take(":"):
                self.fail(f"':' was expected behind {key!r}")
            comments += self._skip_counted()
            value = self.value(depth + 1)
            comments += self._skip_counted()
            comma = self.position
            has_comma = self._take(",")
            if not has_comma and not self.text.startswith("}", self.position):
                self.fail("',' or '}' was expected")
            comments += self._skip_counted()
            members.append(Member(key, at, value, comma if has_comma else None, before, is_open))
        tail = self.token_end
        self._take("}")
        return ObjectNode(start, self.position, members, tail, comments > 0)

    def _skip_counted(self) -> int:
        before = len(self.comments)
        self.skip()
        return len(self.comments) - before
