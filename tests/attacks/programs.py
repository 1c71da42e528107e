"""The hostile programs of `programs/`, and what their first lines say must happen.

-- must: completed "held"                   the cast completes with this output
-- must: completed                          ... with any output
-- must: limit.wall_clock | limit.memory    it fails with one of these codes
-- must: unpublished spec.syntax | ...      the file is not published, for one of these reasons
-- casts: 3                                 it is cast so often, each time with that end
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from llmspell.errors import CATALOGUE
from llmspell.values import dumps, loads

DIRECTORY = Path(__file__).parent / "programs"

_HEADER = re.compile(r"-- (must|casts): (.+)")


@dataclass(frozen=True)
class End:
    """What came of a program, or what may come of it."""

    kind: str
    """completed, failed or unpublished."""
    code: str = ""
    output: str | None = None
    """The output as JSON; None in an expectation = any."""

    def __str__(self) -> str:
        """Return the end as a header writes it."""
        if self.kind == "completed":
            return f"completed {self.output or ''}".strip()
        return f"unpublished {self.code}" if self.kind == "unpublished" else self.code

    def is_one_of(self, allowed: tuple[End, ...]) -> bool:
        """Return whether one of the ends `allowed` describes this one."""
        return any(
            (each.kind, each.code) == (self.kind, self.code) and each.output in (None, self.output)
            for each in allowed
        )


@dataclass(frozen=True)
class Program:
    """One hostile spell file."""

    name: str
    source: str
    must: tuple[End, ...]
    casts: int = 1


def read_programs(*names: str) -> list[Program]:
    """Return the programs of these names, or every program, by name."""
    paths = [DIRECTORY / f"{name}.lua" for name in names] or sorted(DIRECTORY.glob("*.lua"))
    return [_read(path) for path in paths]


def _read(path: Path) -> Program:
    source = path.read_text(encoding="utf-8")
    headers: dict[str, str] = {}
    for line in source.splitlines():
        found = _HEADER.fullmatch(line)
        if found is None:
            break
        headers[found[1]] = found[2]
    expected: list[End] = []
    loads_in_vain = False
    for text in headers.pop("must").split(" | "):
        loads_in_vain = loads_in_vain or text.startswith("unpublished ")
        expected.append(_end(text.removeprefix("unpublished "), loads_in_vain, path.name))
    casts = int(headers.pop("casts", "1"))
    return Program(path.stem, source, tuple(expected), casts)


def _end(text: str, loads_in_vain: bool, file: str) -> End:
    if text in CATALOGUE:
        return End("unpublished" if loads_in_vain else "failed", text)
    word, _, value = text.partition(" ")
    assert word == "completed", f"{file}: {text!r} is nothing that can happen"
    return End("completed", output=dumps(loads(value)) if value else None)
