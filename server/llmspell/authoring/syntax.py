"""Lua text as a tree. The only place that touches tree-sitter.

The parser never fails on wrong Lua: it guesses, and its guesses can take long. So reading is
bounded in time and in size, and what could not be read is no tree. Whether a text is Lua at all
is for Lua itself to say.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

import tree_sitter
import tree_sitter_lua

MAX_BYTES = 256 << 10
"""Longest text that is read."""

READ_SECONDS = 2.0
"""Longest time the parser may take; for that much Lua it takes a tenth."""

_PIECE_BYTES = 1 << 16
_HAS_TEXT = frozenset({"identifier", "string", "number"})


@dataclass(slots=True)
class Node:
    """A piece of Lua, by the names of tree-sitter-lua's grammar. Comments are left out."""

    kind: str
    line: int
    """From 1."""
    role: str = ""
    """What it is to its parent, e.g. `name` or `value`."""
    text: str = ""
    """Of identifiers, numbers and strings; a string with its quotes. Of a field: `[` when its
    name is an expression."""
    children: list[Node] = field(default_factory=list["Node"])

    def child(self, role: str) -> Node | None:
        """Return the first child of a role."""
        return next((child for child in self.children if child.role == role), None)

    def all(self, *kinds: str) -> Iterator[Node]:
        """Yield every node of these kinds, this one included, in no order a caller may rely on."""
        todo = [self]
        while todo:
            node = todo.pop()
            if node.kind in kinds:
                yield node
            todo += node.children


def parse(source: bytes) -> Node | None:
    """Return the tree of a text; None when it cannot be read within the bounds.

    Args:
        source: Lua, as UTF-8. What is no UTF-8 is read as something.
    """
    if len(source) > MAX_BYTES:
        return None
    # The parser reads its input again at every byte that is no UTF-8.
    source = source.decode("utf-8", "replace").encode()
    deadline = time.monotonic() + READ_SECONDS

    def is_over(offset: int, has_error: bool) -> bool:
        return time.monotonic() > deadline

    def read(offset: int, point: tree_sitter.Point) -> bytes:
        return source[offset : offset + _PIECE_BYTES]

    try:
        # A parser of its own: one that was stopped would go on where it was.
        tree = tree_sitter.Parser(_language()).parse(read, progress_callback=is_over)
    except ValueError:  # stopped by `is_over`
        return None
    return _copied(tree, source)


@cache
def _language() -> tree_sitter.Language:
    return tree_sitter.Language(tree_sitter_lua.language())


def _copied(tree: tree_sitter.Tree, source: bytes) -> Node:
    """Return the named nodes of a tree as nodes of ours. Depth costs no stack."""
    cursor = tree.walk()
    root = Node("chunk", 1)
    path = [root]  # the copy of each node above the cursor
    while True:
        if cursor.goto_first_child():
            path.append(_entered(cursor, path[-1], source))
            continue
        path.pop()
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent() or len(path) < 2:
                return root
            path.pop()
        path.append(_entered(cursor, path[-1], source))


def _entered(cursor: tree_sitter.TreeCursor, parent: Node, source: bytes) -> Node:
    node = cursor.node
    assert node is not None  # the cursor stands on one
    made = Node(node.type, node.start_point[0] + 1, cursor.field_name or "")
    if node.type in _HAS_TEXT:
        made.text = source[node.start_byte : node.end_byte].decode("utf-8", "replace")
    if node.type == "[" and parent.kind == "field":
        parent.text = "["
    # Comments, and what is inside them, hang on copies that hang on nothing.
    if node.is_named and not node.is_extra:
        parent.children.append(made)
    return made


def string_value(node: Node | None) -> str | None:
    """Return the text a string literal stands for; None for anything else.

    Escapes are read as Python reads them: for names and keys, which is all this is used for, the
    two languages agree.
    """
    if node is None or node.kind != "string":
        return None
    text = node.text
    if text.startswith("["):
        width = text.find("[", 1) + 1
        return text[width:-width].removeprefix("\n")
    if "\\" not in text:
        return text[1:-1]
    try:
        value: object = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return None
    return value if isinstance(value, str) else None
