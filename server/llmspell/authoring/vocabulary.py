"""The names a spell can use, and the keys its tables may have, as the editor types tell them.

Reads the subset of LuaLS annotations that `editor_types` writes. Knows nothing of values: whether a
key exists is settled here, whether its value fits is settled when the file is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from llmspell.authoring import editor_types

_CLASS = re.compile(r"---@class ([\w.]+)(?:: ([\w.]+))?")
_FIELD = re.compile(r"---@field (\[?\w+\]?)(\??) (.*)")
_ALIAS = re.compile(r"---@alias ([\w.]+) (.*)")
_PARAM = re.compile(r"---@param (\w+)\??\s(.*)")
_ASSIGNED = re.compile(r"(local )?([A-Za-z_][\w.]*) = ")
_FUNCTION = re.compile(r"function ([\w.:]+)\(([^)]*)\) end")
_NAME = "llmspell.Name"
_BRACKETS = {"(": ")", "{": "}", "<": ">", "[": "]"}


@dataclass(slots=True)
class Class:
    """A class of the types: its fields with their types, its methods."""

    parent: str | None = None
    fields: dict[str, str] = field(default_factory=dict[str, str])
    methods: dict[str, Function] = field(default_factory=dict[str, "Function"])
    rest: str | None = None
    """Type of the values under any other name; None when there may be no other."""
    items: str | None = None
    """Type of list items."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function: the types of its parameters, by position."""

    parameters: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(slots=True)
class Vocabulary:
    """What one kind of file can use.

    Attributes:
        globals: Every global name.
        members: Global tables by path (`State`, `State.session`), with what they hold.
        functions: Functions by path (`print`, `State.session.get`).
        classes: Classes by name.
        aliases: Types by the name that stands for them.
    """

    globals: set[str] = field(default_factory=set[str])
    members: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    functions: dict[str, Function] = field(default_factory=dict[str, Function])
    classes: dict[str, Class] = field(default_factory=dict[str, Class])
    aliases: dict[str, str] = field(default_factory=dict[str, str])

    def methods(self, name: str) -> Mapping[str, Function]:
        """Return the methods of a class, those of its parents included."""
        found: dict[str, Function] = {}
        known: Class | None = self.classes.get(name)
        while known is not None:
            found = {**known.methods, **found}
            known = self.classes.get(known.parent or "")
        return found

    def table(self, kind: str) -> Class | None:
        """Return what a table written where `kind` is expected may hold.

        None when that is not settled by its keys alone: anything may stand there.
        """
        for part in split(kind, "|"):
            text = part.removesuffix("?")
            if text.startswith("{"):
                found = Class(fields=dict(_inline(text)))
            elif text.endswith("[]"):
                found = Class(items=text[:-2].removeprefix("(").removesuffix(")"))
            elif text.startswith("table<string, "):
                found = Class(rest=text[len("table<string, ") : -1])
            elif text in self.aliases:
                found = self.table(self.aliases[text])
            else:
                found = self.classes.get(text)
            if found is not None and (found.fields or found.items or found.rest):
                return found
        return None

    def given(self, kind: str) -> tuple[str, ...]:
        """Return the types of the parameters of a function written where `kind` is expected."""
        for part in split(kind, "|"):
            if part in self.aliases:
                return self.given(self.aliases[part])
            if part.startswith("fun("):
                inside, _, _ = part[len("fun(") :].partition(")")
                return tuple(each.partition(":")[2].strip() for each in split(inside, ","))
        return ()

    def is_name(self, kind: str) -> bool:
        """Return whether a text where `kind` is expected names something published."""
        return any(
            part == _NAME or (part in self.aliases and self.is_name(self.aliases[part]))
            for part in split(kind, "|")
        )


@cache
def of_spells() -> Vocabulary:
    """Return what a spell or a module can use."""
    return _parsed(editor_types.render()["llmspell.lua"])


@cache
def of_tests() -> Vocabulary:
    """Return what a `*_test.lua` can use."""
    return _parsed("\n".join(editor_types.render().values()))


def split(text: str, separator: str) -> list[str]:
    """Split a type at a separator that stands in no brackets."""
    parts: list[str] = []
    depth: list[str] = []
    start = 0
    for at, letter in enumerate(text):
        if letter in _BRACKETS:
            depth.append(_BRACKETS[letter])
        elif depth and letter == depth[-1]:
            depth.pop()
        elif letter == separator and not depth:
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()]


def _inline(text: str) -> Iterator[tuple[str, str]]:
    for part in split(text[1:-1], ","):
        name, colon, kind = part.partition(":")
        if colon:
            yield name.strip().removesuffix("?"), kind.strip()


def _first_type(text: str) -> str:
    """Return the type that a text begins with; a description may follow it."""
    depth: list[str] = []
    for at, letter in enumerate(text):
        if letter in _BRACKETS:
            depth.append(_BRACKETS[letter])
        elif depth and letter == depth[-1]:
            depth.pop()
        elif letter == " " and not depth and text[at - 1] not in ":,|":
            return text[:at]
    return text


def _parsed(text: str) -> Vocabulary:
    found = _Reader()
    for line in text.splitlines():
        found.read(line)
    return found.finished()


class _Reader:
    """Reads types line by line. A class belongs to the table assigned right below it."""

    def __init__(self) -> None:
        self._made = Vocabulary()
        self._class: str | None = None
        self._classes_of: dict[str, str] = {}
        self._parameters: dict[str, str] = {}

    def read(self, line: str) -> None:
        if match := _CLASS.match(line):
            self._class = match[1]
            self._made.classes[match[1]] = Class(parent=match[2])
        elif match := _FIELD.match(line):
            self._field(match[1], match[3])
        elif match := _ALIAS.match(line):
            self._made.aliases[match[1]] = match[2]
        elif match := _PARAM.match(line):
            self._parameters[match[1]] = _first_type(match[2])
        elif match := _FUNCTION.match(line):
            self._function(match[1], match[2])
        elif match := _ASSIGNED.match(line):
            self._assigned(match[2], is_local=match[1] is not None)
        if not line.startswith("---"):
            self._class, self._parameters = None, {}

    def _field(self, name: str, kind: str) -> None:
        assert self._class is not None
        known = self._made.classes[self._class]
        if name == "[integer]":
            known.items = _first_type(kind)
        elif name == "[string]":
            known.rest = _first_type(kind)
        else:
            known.fields[name] = _first_type(kind)

    def _assigned(self, name: str, *, is_local: bool) -> None:
        if self._class is not None:
            self._classes_of[name] = self._class
        if is_local:
            return
        table, dot, member = name.rpartition(".")
        if dot:
            self._made.members.setdefault(table, set()).add(member)
        else:
            self._made.globals.add(name)

    def _function(self, path: str, parameters: str) -> None:
        names = tuple(part.strip() for part in parameters.split(",") if part.strip())
        made = Function(tuple(self._parameters.get(name, "any") for name in names), names)
        table, _, name = path.replace(":", ".").rpartition(".")
        owner = self._classes_of.get(table)
        if owner is not None:
            self._made.classes[owner].methods[name] = made
        if not table:
            self._made.globals.add(name)
        if table in self._made.globals:
            self._made.members.setdefault(table, set()).add(name)
        if not table or table in self._made.globals:
            self._made.functions[path] = made

    def finished(self) -> Vocabulary:
        for table, kind in self._classes_of.items():
            if table in self._made.globals:
                self._inherit(table, kind)
        return self._made

    def _inherit(self, table: str, kind: str) -> None:
        """Give a global table the methods of its class, and so on for its fields."""
        made = self._made
        held = made.members.setdefault(table, set())
        for name, function in made.methods(kind).items():
            held.add(name)
            made.functions[f"{table}.{name}"] = function
        for name, inner in made.classes[kind].fields.items():
            held.add(name)
            if inner in made.classes:
                self._inherit(f"{table}.{name}", inner)
