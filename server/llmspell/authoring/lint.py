"""What can be seen to be wrong with a Lua file without running it.

Unknown names and members, globals that are assigned, keys that no constructor takes and names
that nothing publishes, wherever they stand, also where loading never comes. It says nothing of
style, and nothing it is not sure of.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from llmspell.authoring.scopes import Names, find_names
from llmspell.authoring.syntax import MAX_BYTES, Node, parse, string_value
from llmspell.authoring.vocabulary import Class, Vocabulary
from llmspell.errors import (
    LlmspellError,
    NeedUndeclared,
    SpecError,
    SpecGlobal,
    SpecTooLong,
    SpecUnknownKey,
    SpecUnknownName,
    SpecUnpublished,
)

Severity: TypeAlias = Literal["error", "warning"]

ABSENT = {
    "bit32": "write & | ~ << >>",
    "collectgarbage": "memory needs no help",
    "ctx": "take it as the second argument: run = function(input, ctx)",
    "debug": "spells have no debug library",
    "dofile": "write require",
    "input": "take it as the first argument: run = function(input)",
    "io": "spells reach no files",
    "load": "spells cannot make code while they run",
    "loadfile": "write require",
    "loadstring": "spells cannot make code while they run",
    "os.execute": "spells start no programs",
    "os.exit": "return, or raise an error",
    "os.getenv": "spells see no environment: pass it in as input",
    "os.remove": "spells reach no files",
    "os.rename": "spells reach no files",
    "os.tmpname": "spells reach no files",
    "package": "write require",
    "unpack": "write table.unpack",
}
"""What authors expect and spells do not have, with what to do instead; `runtime/lua/hints.lua`
says the same of a cast that fails over it."""

_LITERALS = frozenset({"string", "number", "true", "false", "nil"})
_DYNAMIC = "_ENV"
"""A file that names its environment may look up anything in it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with a file. Only errors make a check fail."""

    severity: Severity
    error: LlmspellError

    def report(self) -> str:
        """Return the text shown to a person."""
        text = self.error.report()
        return text if self.severity == "error" else f"warning: {text}"

    def to_value(self) -> dict[str, object]:
        """Return the finding as a JSON object."""
        return {"severity": self.severity, **self.error.to_value()}


def lint(
    name: str,
    source: bytes,
    vocabulary: Vocabulary,
    *,
    published: Collection[str] | None = None,
    granted: Collection[str] | None = None,
    more_globals: Collection[str] = (),
) -> list[Finding]:
    """Return the findings of one file, in its order.

    Args:
        name: The file as findings name it.
        source: Its text, which Lua itself has accepted.
        vocabulary: What the file can use.
        published: Names that can be cast; None when they are not known.
        granted: Names that the code of the file may cast; None when that is not known.
        more_globals: Globals that the modules it requires assign.
    """
    tree = parse(source)
    if tree is None:
        text = f"longer than {MAX_BYTES} bytes, or too intricate: names and keys were not checked"
        return [Finding("warning", SpecTooLong(text, where=name))]
    found = sorted(_Lint(name, tree, vocabulary, published, granted, more_globals).run(), key=_line)
    # The same twice on one line is one mistake.
    return list({finding.report(): finding for finding in found}.values())


def assigned_globals(source: bytes) -> set[str]:
    """Return the globals a module assigns."""
    tree = parse(source)
    return set() if tree is None else {node.text for node in find_names(tree).writes}


def _line(finding: Finding) -> int:
    return int((finding.error.where or "").rpartition(":")[2] or 0)


class _Lint:
    def __init__(
        self,
        name: str,
        tree: Node,
        vocabulary: Vocabulary,
        published: Collection[str] | None,
        granted: Collection[str] | None,
        more_globals: Collection[str],
    ) -> None:
        self._name = name
        self._tree = tree
        self._vocabulary = vocabulary
        self._published = published
        self._granted = granted
        self._names: Names = find_names(tree)
        self._known = vocabulary.globals | set(more_globals)
        self._given: dict[int, str] = {}
        """Types of the parameters of functions that are given to ours, by their declarations."""
        self._made = {name.text for name in _assigned_members(tree)}

    def run(self) -> Iterator[Finding]:
        if not any(node.text == _DYNAMIC for node in self._tree.all("identifier")):
            yield from self._unknown_names()
            yield from self._assigned()
        for node in self._tree.all("dot_index_expression", "method_index_expression"):
            yield from self._member(node)
        for node in self._tree.all("function_call"):
            yield from self._call(node)
        for node in self._tree.all("method_index_expression", "dot_index_expression"):
            yield from self._given_member(node)
        for node in self._tree.all("function_call"):
            yield from self._given_call(node)

    def _where(self, node: Node) -> str:
        return f"{self._name}:{node.line}"

    # -- names

    def _unknown_names(self) -> Iterator[Finding]:
        assigned = {node.text for node in self._names.writes}
        for node in self._names.reads:
            if node.text not in self._known and node.text not in assigned:
                hint = (
                    ABSENT.get(node.text)
                    or _suggestion(node.text, self._known)
                    or f"declare it: local {node.text} = ..."
                )
                error = SpecUnknownName(
                    f"unknown name {node.text!r}", hint=hint, where=self._where(node)
                )
                yield Finding("error", error)

    def _assigned(self) -> Iterator[Finding]:
        seen: set[str] = set()
        for node in self._names.writes:
            if node.text in seen:
                continue
            seen.add(node.text)
            what = "replaces" if node.text in self._known else "assigns"
            error = SpecGlobal(f"{what} the global {node.text!r}", where=self._where(node))
            yield Finding("warning", error)

    def _member(self, node: Node) -> Iterator[Finding]:
        path = self._names.path(node)
        table, _, name = (path or "").rpartition(".")
        held = self._vocabulary.members.get(table)
        if held is not None and name not in held:
            hint = (
                ABSENT.get(f"{table}.{name}")
                or _suggestion(name, held)
                or f"it has: {', '.join(sorted(held))}"
            )
            error = SpecUnknownName(f"{table} has no {name!r}", hint=hint, where=self._where(node))
            yield Finding("error", error)

    # -- what functions are given

    def _note_given(self, function: Node, kind: str) -> None:
        """Remember what a function is given that stands where one of type `kind` is expected."""
        parameters = function.child("parameters")
        if parameters is not None:
            for node, given in zip(parameters.children, self._vocabulary.given(kind), strict=False):
                self._given[id(node)] = given

    def _kind(self, node: Node | None) -> str | None:
        """Return the class of what an identifier names; None where that is not known."""
        kind = self._given.get(id(self._names.declaration(node)))
        return kind if kind in self._vocabulary.classes else None

    def _given_member(self, node: Node) -> Iterator[Finding]:
        table, name = node.child("table"), node.child("field") or node.child("method")
        kind = self._kind(table)
        if table is None or name is None or kind is None or name.text in self._made:
            return
        held = {*self._vocabulary.classes[kind].fields, *self._vocabulary.methods(kind)}
        if name.text not in held:
            hint = _suggestion(name.text, held) or f"it has: {', '.join(sorted(held))}"
            error = SpecUnknownName(
                f"{table.text} has no {name.text!r}", hint=hint, where=self._where(node)
            )
            yield Finding("error", error)

    def _given_call(self, node: Node) -> Iterator[Finding]:
        called, arguments = node.child("name"), node.child("arguments")
        if called is None or arguments is None:
            return
        table, name = called.child("table"), called.child("field") or called.child("method")
        kind = self._kind(table)
        if table is None or name is None or kind is None:
            return
        method = self._vocabulary.methods(kind).get(name.text)
        if method is None:
            return
        values = arguments.children
        if called.kind == "dot_index_expression":
            if not values or values[0].text != table.text:
                right = f"{table.text}:{name.text}"
                error = SpecError(
                    f"{table.text}.{name.text} is called with a dot",
                    hint=f"write {right}(...), with a colon",
                    where=self._where(node),
                )
                yield Finding("error", error)
                return
            values = values[1:]
        for kind, value in zip(method.parameters, values, strict=False):
            yield from self._value(value, kind, f"{table.text}:{name.text}")

    # -- tables

    def _call(self, node: Node) -> Iterator[Finding]:
        called = node.child("name")
        path = self._names.path(called)
        function = self._vocabulary.functions.get(path or "")
        arguments = node.child("arguments")
        if path is None or function is None or arguments is None:
            return
        for kind, argument in zip(function.parameters, arguments.children, strict=False):
            yield from self._value(argument, kind, path)

    def _value(self, node: Node, kind: str, what: str) -> Iterator[Finding]:
        """Check a value written where one of type `kind` is expected. Depth costs no stack."""
        todo = [(node, kind, what)]
        while todo:
            node, kind, what = todo.pop()
            if node.kind == "function_definition":
                self._note_given(node, kind)
            if node.kind == "string" and self._vocabulary.is_name(kind):
                yield from self._reference(node)
            held = self._vocabulary.table(kind) if node.kind == "table_constructor" else None
            if held is None:
                continue
            for field in node.children:
                inner, findings = self._field(field, held, what)
                yield from findings
                if inner is not None:
                    todo.append(inner)

    def _field(
        self, field: Node, held: Class, what: str
    ) -> tuple[tuple[Node, str, str] | None, list[Finding]]:
        """Return what is to be checked inside a field, and what is wrong with the field itself."""
        value = field.child("value")
        name = field.child("name")
        if value is None:
            return None, []
        if name is None:
            return (value, held.items, f"an item of {what}") if held.items else None, []
        key = string_value(name) if field.text == "[" else name.text
        if key is None:
            return None, []
        if key in held.fields:
            return (value, held.fields[key], f"{key} of {what}"), []
        if held.rest is not None and (not held.fields or held.rest == "any"):
            return (value, held.rest, f"{key} of {what}"), []
        if held.rest is not None and value.kind not in _LITERALS:
            return (value, held.rest, f"{key} of {what}"), []
        if not held.fields:  # a list; whether it may have names is for loading to say
            return None, []
        return None, [self._unknown_key(key, held, what, name)]

    def _unknown_key(self, key: str, held: Class, what: str, node: Node) -> Finding:
        hint = f"Allowed: {', '.join(sorted(held.fields))}"
        suggestion = _suggestion(key, held.fields)
        return Finding(
            "error",
            SpecUnknownKey(
                f"unknown key {key!r} in {what}",
                hint=f"{suggestion} {hint}".lstrip(),
                where=self._where(node),
            ),
        )

    def _reference(self, node: Node) -> Iterator[Finding]:
        """Check a name that is to be cast."""
        name = string_value(node)
        if name is None or self._published is None:
            return
        if name not in self._published:
            hint = _suggestion(name, self._published)
            error = SpecUnpublished(
                f"nothing here publishes {name!r}",
                hint=hint or "publish it; a test answers for it with mock.tool",
                where=self._where(node),
            )
            yield Finding("warning", error)
        elif self._granted is not None and name not in self._granted:
            yield Finding(
                "error",
                NeedUndeclared(
                    f"the code casts {name!r}, which the file does not declare",
                    hint=f'declare it: needs = {{ tools = {{ "{name}" }} }}',
                    where=self._where(node),
                ),
            )


def _assigned_members(tree: Node) -> Iterator[Node]:
    """Yield the names of members that a file assigns, of whichever table."""
    for statement in tree.all("assignment_statement"):
        for targets in statement.children:
            if targets.kind == "variable_list":
                for target in targets.children:
                    name = target.child("field")
                    if name is not None:
                        yield name


def _suggestion(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"did you mean {close[0]!r}?" if close else ""
