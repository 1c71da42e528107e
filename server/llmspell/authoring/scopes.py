"""Which names of a file are global: everything no `local`, parameter or loop declares.

Of the others it knows where they are declared. Follows Lua's rules of visibility. Knows nothing of
which globals there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from llmspell.authoring.syntax import Node


@dataclass(slots=True)
class Names:
    """The names of one file, as the identifiers that name them.

    Attributes:
        reads: Global names that are read, in the file's order.
        writes: Global names that are assigned, in the file's order.
    """

    reads: list[Node] = field(default_factory=list[Node])
    writes: list[Node] = field(default_factory=list[Node])
    _declared: dict[int, Node] = field(default_factory=dict[int, Node])
    _assigned: set[int] = field(default_factory=set[int])
    _read: set[int] = field(default_factory=set[int])

    def path(self, node: Node | None) -> str | None:
        """Return `State.session.get` for the node of such an expression; None for any other.

        A method call has the path its dot would have.
        """
        names: list[str] = []
        while node is not None and node.kind in ("dot_index_expression", "method_index_expression"):
            name = node.child("field") or node.child("method")
            if name is None:
                return None
            names.append(name.text)
            node = node.child("table")
        if node is None or node.kind != "identifier" or id(node) not in self._read:
            return None
        return ".".join([node.text, *reversed(names)])

    def declaration(self, node: Node | None) -> Node | None:
        """Return the identifier that declares the local a node names, and keeps its value.

        None for anything else: a global, or a local that is assigned later.
        """
        declared = self._declared.get(id(node))
        return None if declared is None or id(declared) in self._assigned else declared

    def add_read(self, node: Node, declared: Node | None) -> None:
        """Note that `node` reads a global, or the local that `declared` declares."""
        if declared is not None:
            self._declared[id(node)] = declared
            return
        self.reads.append(node)
        self._read.add(id(node))

    def add_write(self, node: Node, declared: Node | None) -> None:
        """Note that `node` is assigned: a global, or the local that `declared` declares."""
        if declared is None:
            self.writes.append(node)
        else:
            self._assigned.add(id(declared))


def find_names(tree: Node) -> Names:
    """Return the names a file uses."""
    return _Walk().run(tree)


_Act: TypeAlias = "Node | Callable[[], None]"


class _Walk:
    """Visits a tree in the order in which names come to be visible. Depth costs no stack."""

    def __init__(self) -> None:
        self._found = Names()
        self._scopes: list[list[Node]] = [[]]
        self._visible: defaultdict[str, list[Node]] = defaultdict(list)
        """The declarations of a name that can be seen, the nearest last."""
        self._todo: list[_Act] = []

    def run(self, tree: Node) -> Names:
        self._todo = [tree]
        while self._todo:
            act = self._todo.pop()
            if isinstance(act, Node):
                self._next(_VISITS.get(act.kind, _Walk._others)(self, act))
            else:
                act()
        return self._found

    def _next(self, acts: Iterable[_Act]) -> None:
        self._todo += reversed(list(acts))

    # -- scopes

    def _open(self) -> None:
        self._scopes.append([])

    def _close(self) -> None:
        for node in self._scopes.pop():
            self._visible[node.text].pop()

    def _see(self, nodes: list[Node]) -> None:
        self._scopes[-1] += nodes
        for node in nodes:
            self._visible[node.text].append(node)

    def _declare(self, nodes: Iterable[Node]) -> Callable[[], None]:
        named = [node for node in nodes if node.kind == "identifier"]
        return lambda: self._see(named)

    def _declared(self, name: str) -> Node | None:
        declarations = self._visible.get(name)
        return declarations[-1] if declarations else None

    # -- kinds of nodes; each yields what is to be done, in order

    def _others(self, node: Node) -> Iterator[_Act]:
        yield from node.children

    def _nothing(self, node: Node) -> Iterator[_Act]:
        yield from ()

    def _block(self, node: Node) -> Iterator[_Act]:
        yield self._open
        yield from node.children
        yield self._close

    def _identifier(self, node: Node) -> Iterator[_Act]:
        self._found.add_read(node, self._declared(node.text))
        yield from ()

    def _write(self, node: Node) -> None:
        self._found.add_write(node, self._declared(node.text))

    def _local(self, node: Node) -> Iterator[_Act]:
        for part in node.children:
            if part.kind == "assignment_statement":
                yield from (child for child in part.children if child.kind == "expression_list")
                yield self._declare(_names(part))
            elif part.kind == "variable_list":
                yield self._declare(part.children)

    def _assignment(self, node: Node) -> Iterator[_Act]:
        yield from (child for child in node.children if child.kind != "variable_list")
        for target in _names(node):
            yield from self._target(target)

    def _target(self, node: Node) -> Iterator[_Act]:
        if node.kind == "identifier":
            yield lambda: self._write(node)
        else:
            yield node

    def _function(self, node: Node) -> Iterator[_Act]:
        name = node.child("name")
        if name is not None and node.role == "local_declaration":
            yield self._declare([name])
        elif name is not None:
            yield from self._target(name)
        yield self._open
        if name is not None and name.kind == "method_index_expression":
            self_ = Node("identifier", node.line, text="self")
            yield lambda: self._see([self_])
        parameters = node.child("parameters")
        if parameters is not None:
            yield self._declare(parameters.children)
        yield from (child for child in node.children if child.role == "body")
        yield self._close

    def _for(self, node: Node) -> Iterator[_Act]:
        clause = node.child("clause")
        names: list[Node] = []
        for part in clause.children if clause is not None else ():
            if part.kind == "variable_list":
                names += part.children
            elif part.role == "name":
                names.append(part)
            else:
                yield part
        yield self._open
        yield self._declare(names)
        yield from (child for child in node.children if child.role == "body")
        yield self._close

    def _repeat(self, node: Node) -> Iterator[_Act]:
        yield self._open
        body = node.child("body")
        yield from body.children if body is not None else ()
        # The condition sees what the body declares.
        yield from (child for child in node.children if child.role == "condition")
        yield self._close

    def _field(self, node: Node) -> Iterator[_Act]:
        for child in node.children:
            if child.role != "name" or node.text == "[":
                yield child

    def _index(self, node: Node) -> Iterator[_Act]:
        yield from (child for child in node.children if child.role == "table")


def _names(assignment: Node) -> Iterator[Node]:
    for child in assignment.children:
        if child.kind == "variable_list":
            yield from (name for name in child.children if name.kind != "attribute")


_VISITS: dict[str, Callable[[_Walk, Node], Iterator[_Act]]] = {
    "assignment_statement": _Walk._assignment,  # pyright: ignore[reportPrivateUsage]  # its own table
    "block": _Walk._block,  # pyright: ignore[reportPrivateUsage]
    "dot_index_expression": _Walk._index,  # pyright: ignore[reportPrivateUsage]
    "field": _Walk._field,  # pyright: ignore[reportPrivateUsage]
    "for_statement": _Walk._for,  # pyright: ignore[reportPrivateUsage]
    "function_declaration": _Walk._function,  # pyright: ignore[reportPrivateUsage]
    "function_definition": _Walk._function,  # pyright: ignore[reportPrivateUsage]
    "goto_statement": _Walk._nothing,  # pyright: ignore[reportPrivateUsage]
    "identifier": _Walk._identifier,  # pyright: ignore[reportPrivateUsage]
    "label_statement": _Walk._nothing,  # pyright: ignore[reportPrivateUsage]
    "method_index_expression": _Walk._index,  # pyright: ignore[reportPrivateUsage]
    "repeat_statement": _Walk._repeat,  # pyright: ignore[reportPrivateUsage]
    "variable_declaration": _Walk._local,  # pyright: ignore[reportPrivateUsage]
}
