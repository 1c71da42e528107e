"""The test files of a project, and the tests each declares."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from llmspell.config import Project
from llmspell.errors import SpecError, SpecSyntax, UsageError
from llmspell.host.sources import read_source, source_name
from llmspell.host.spellbook import Spellbook
from llmspell.runtime.engine import Engine, Program, ScriptLimits
from llmspell.values import JSON, FunctionRef, Object

SUFFIX = "_test.lua"
"""How the name of a test file ends."""

LIBRARY = "llmspell.testing"
"""The module that brings `describe` and all the rest; no project's module has a name like it."""

_LIBRARY_FILE = Path(__file__).parent / "library.lua"
_BEFORE = f'return require "{LIBRARY}"(function(...) '.encode()
_AFTER = b"\nend)"


@dataclass(frozen=True, slots=True)
class Case:
    """One test: a function of its file."""

    name: str
    line: int
    function: FunctionRef


@dataclass(frozen=True, slots=True)
class TestFile:
    """A test file that was loaded."""

    __test__ = False  # pytest: no test, in spite of its name

    path: Path
    name: str
    program: Program
    declaration: JSON
    cases: tuple[Case, ...]


def library() -> bytes:
    """Return the source of the library of tests."""
    return _LIBRARY_FILE.read_bytes()


def find_tests(project: Project, paths: Sequence[Path] = ()) -> list[Path]:
    """Return the test files under `paths`, else those of the project, sorted.

    Raises:
        UsageError: A path does not exist.
    """
    found: list[Path] = []
    for path in paths or (project.spells, project.root / "tests"):
        if path.is_dir():
            found += _under(path)
        elif path.exists():
            found.append(path)
        elif paths:
            raise UsageError(f"{str(path)!r} does not exist", hint="")
    return list(dict.fromkeys(found))


def _under(directory: Path) -> list[Path]:
    found: list[Path] = []
    for place, folders, files in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        found += [Path(place, name) for name in sorted(files) if name.endswith(SUFFIX)]
    return found


async def collect(
    path: Path, project: Project, book: Spellbook, engine: Engine, limits: ScriptLimits
) -> TestFile:
    """Load a test file and return the tests it declares. None of them runs.

    Raises:
        SpecError: What is wrong with it, with file and line.
        LimitError: Its top level hit a limit.
    """
    name = source_name(project.root, path)
    source = read_source(path)
    plain = book.program_of(name, source, path.parent)
    program = replace(
        plain,
        source=_BEFORE + source + _AFTER,
        modules={**plain.modules, LIBRARY: library()},
    )
    try:
        declaration = (await engine.load(program, limits)).declaration
    except SpecSyntax:
        # Told of the text as it was written, not of what is put around it.
        await engine.load(plain, limits)
        raise
    table = cast(Object, declaration) if isinstance(declaration, dict) else {}
    cases = tuple(_case(item) for item in cast("list[Any]", table.get("tests") or []))
    if not cases:
        raise SpecError(
            "the file declares no tests", hint="it has none without an 'it'", where=name
        )
    return TestFile(path, name, program, declaration, cases)


def _case(item: Object) -> Case:
    return Case(str(item["name"]), int(item["line"]), item["run"])
