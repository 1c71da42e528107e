"""The difference between two texts of a client's file, without what others have put into it.

Neighbours' entries hold tokens, so every value and comment outside our own
entry is shown as `…`, whether it is near the change or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import takewhile
from pathlib import Path

from llmspell.cli.clients.jsonc import Array, Node, Scalar, parse
from llmspell.cli.tables import clean

HIDDEN = "…"
WIDTH = 300
"""How much of a line is shown: some clients keep their whole file on one."""

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_LINE_ENDS = "\r\n"


def difference(
    path: Path, before: str | None, after: str | None, entry: tuple[str, ...]
) -> Iterator[str]:
    """Yield the lines of a unified diff without context.

    Args:
        path: The file, for the two lines at the head.
        before: Its text; None when there was no file.
        after: Its text; None when there is none any more.
        entry: The keys that lead to the entry that is shown as it is.
    """
    yield f"--- {path if before is not None else '/dev/null'}"
    yield f"+++ {path if after is not None else '/dev/null'}"
    old, new = _lines(before), _lines(after)
    shown_old, shown_new = _lines(_masked(before, entry)), _lines(_masked(after, entry))
    # Only the middle is compared: these files can be long, and most of one stays.
    pairs = zip(old, new, strict=False)
    head = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    pairs = zip(old[head:][::-1], new[head:][::-1], strict=False)
    tail = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    matcher = SequenceMatcher(
        None, old[head : len(old) - tail], new[head : len(new) - tail], autojunk=False
    )
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            continue
        a, b, c, d = (number + head for number in (a, b, c, d))
        yield f"@@ -{_range(a, b)} +{_range(c, d)} @@"
        yield from (f"-{_short(line)}" for line in shown_old[a:b])
        yield from (f"+{_short(line)}" for line in shown_new[c:d])


def _lines(text: str | None) -> list[str]:
    return _LINE.findall(text or "")


def _range(start: int, end: int) -> str:
    """Return a range of lines as unified diffs write it (GNU diffutils, detailed unified)."""
    count = end - start
    first = start + 1 if count else start
    return f"{first}" if count == 1 else f"{first},{count}"


def _short(line: str) -> str:
    text = "\t".join(clean(part) for part in line.rstrip(_LINE_ENDS).split("\t"))
    return text if len(text) <= WIDTH else text[:WIDTH] + HIDDEN


def _masked(text: str | None, entry: tuple[str, ...]) -> str:
    """Return a text with as many lines, in which only our own entry shows values."""
    if text is None:
        return ""
    document = parse(text)
    own = document.at(entry)
    spans = list(document.comments)
    if document.root is not None:
        spans += [(node.start, node.end) for node in _scalars(document.root)]
    parts: list[str] = []
    position = 0
    for start, end in sorted(spans):
        if own is not None and own.start <= start and end <= own.end:
            continue
        parts += (text[position:start], _hidden(text[start:end]))
        position = end
    return "".join([*parts, text[position:]])


def _hidden(text: str) -> str:
    ends = [line[len(line.rstrip(_LINE_ENDS)) :] for line in _lines(text)]
    return "".join(HIDDEN + end for end in ends)


def _scalars(node: Node) -> Iterator[Scalar]:
    if isinstance(node, Scalar):
        yield node
        return
    inner = node.items if isinstance(node, Array) else [member.value for member in node.members]
    for each in inner:
        yield from _scalars(each)
