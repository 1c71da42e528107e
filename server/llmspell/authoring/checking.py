"""Checks files as `llmspell check` does: each is loaded as a server would, then read.

A file is a spell, a test (`*_test.lua`) or a module (below a `lib`). Nothing is cast, published or
written; no owner is needed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmspell import plugins
from llmspell.authoring import vocabulary
from llmspell.authoring.lint import Finding, assigned_globals, lint
from llmspell.authoring.syntax_hints import syntax_hint
from llmspell.authoring.testing.collecting import SUFFIX, collect, find_tests
from llmspell.config import Project
from llmspell.errors import (
    LlmspellError,
    SpecDuplicate,
    SpecError,
    SpecSyntax,
    SpecUnpublished,
    UsageError,
    nearest,
)
from llmspell.host.sources import SourceFile, find_spells, read_source, source_name
from llmspell.host.spellbook import BUNDLE, Spellbook
from llmspell.runs.castable import Castable
from llmspell.runtime.engine import Engine, ScriptLimits
from llmspell.values import Object

_MODULES = "lib"
"""Directories of this name hold modules, which publish nothing."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found."""

    files: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; a warning is not wrong."""
        return all(finding.severity == "warning" for finding in self.findings)

    def to_value(self) -> Object:
        """Return the report as a JSON object."""
        return {
            "ok": self.ok,
            "files": self.files,
            "findings": [finding.to_value() for finding in self.findings],
        }


async def check(project: Project, paths: Sequence[Path] = ()) -> Report:
    """Check files, or everything below directories; the whole project when none is given.

    Raises:
        UsageError: A path does not exist.
    """
    limits = project.settings.limits
    engine: Engine = plugins.load("engines", "lua")(idle_workers=1)
    load_limits = ScriptLimits(heap_bytes=limits.heap_bytes, slice_seconds=limits.load_seconds)
    book = Spellbook(project, engine, load_limits)
    try:
        return await _Check(project, engine, load_limits, book).run(paths)
    finally:
        await engine.close()


class _Check:
    def __init__(
        self, project: Project, engine: Engine, limits: ScriptLimits, book: Spellbook
    ) -> None:
        self._project = project
        self._engine = engine
        self._limits = limits
        self._book = book
        self._published: set[str] = set()
        self._modules: set[Path] = set()

    async def run(self, paths: Sequence[Path]) -> Report:
        catalogue = await self._book.reload()
        files = list(dict.fromkeys(self._files(paths)))
        # A file that does not load publishes something all the same, mostly under its own name.
        self._published = {spell.name for spell in catalogue.spells} | {path.stem for path in files}
        findings: list[Finding] = []
        for path in files:
            findings += await self._check(path)
        if not paths:
            # All else that keeps a file from being published is found in the file itself.
            findings += [
                Finding("error", LlmspellError.from_value(problem))
                for problem in catalogue.problems
                if problem["code"] == SpecDuplicate.code
            ]
            findings += self._published_by_nobody()
        return Report(len(files), tuple(findings))

    def _published_by_nobody(self) -> Iterator[Finding]:
        """Yield the names that the setting `publish` lists and no file has."""
        for name in self._project.settings.publish:
            if name == "*" or name.startswith(BUNDLE) or name in self._published:
                continue
            close = nearest(name, sorted(self._published))
            error = SpecUnpublished(
                f"the setting publish names {name!r}, which no file declares",
                hint=f"did you mean {close!r}?" if close else "take it out, or write that spell",
            )
            yield Finding("warning", error)

    def _files(self, paths: Sequence[Path]) -> Iterator[Path]:
        project = self._project
        if not paths:
            yield from (file.path for file in find_spells(project.root, project.spells))
            yield from self._modules_of(project.spells)
            yield from self._modules_of(project.root / _MODULES)
            yield from find_tests(project)
            return
        for path in paths:
            if path.is_dir():
                yield from (file.path for file in find_spells(project.root, path))
                yield from self._modules_of(path)
                yield from find_tests(project, [path])
            elif path.exists():
                yield path
            else:
                raise UsageError(f"{str(path)!r} does not exist", hint="")

    def _modules_of(self, directory: Path) -> Iterator[Path]:
        found = list(_modules(directory))
        self._modules.update(found)
        yield from found

    def _is_module(self, path: Path, name: str) -> bool:
        # The name of a file outside of the project does not tell where it stands.
        return path in self._modules or _MODULES in Path(name).parts[:-1]

    async def _check(self, path: Path) -> list[Finding]:
        name = source_name(self._project.root, path)
        try:
            source = read_source(path)
        except SpecError as error:
            error.where = error.where or name
            return [Finding("error", error)]
        castable, problem = await self._load(path, name, source)
        if problem is not None and problem.hint == SpecError.hint_text:
            problem.hint = ""  # this is the check it sends to
        if isinstance(problem, SpecSyntax):
            problem.hint = syntax_hint(problem.message, _line_of(problem, source))
            return [Finding("error", problem)]
        modules = self._book.program_of(name, source, path.parent).modules
        found = lint(
            name,
            source,
            vocabulary.of_tests() if name.endswith(SUFFIX) else vocabulary.of_spells(),
            published=self._published,
            granted=castable.granted if castable is not None else None,
            more_globals={name for text in modules.values() for name in assigned_globals(text)},
        )
        # What loading stumbled over is mostly what was read before, at the same place.
        places = {finding.error.where for finding in found if finding.severity == "error"}
        if problem is not None and problem.where not in places:
            found.append(Finding("error", problem))
        return found

    async def _load(
        self, path: Path, name: str, source: bytes
    ) -> tuple[Castable | None, LlmspellError | None]:
        """Return what a file publishes, and what is wrong with it when it is loaded."""
        try:
            if name.endswith(SUFFIX):
                await collect(path, self._project, self._book, self._engine, self._limits)
            elif self._is_module(path, name):
                program = self._book.program_of(name, source, path.parent)
                await self._engine.load(program, self._limits)
            else:
                castable = await self._book.load(SourceFile(path, name))
                self._published.add(castable.name)
                return castable, None
        except SpecSyntax as error:
            return None, error
        except LlmspellError as error:
            if self._is_module(path, name):
                return None, None  # it may need what only a spell that requires it brings
            error.where = error.where or name
            return None, error
        return None, None


def _line_of(error: LlmspellError, source: bytes) -> str:
    """Return the line of a source that an error names; "" when it names none."""
    number = (error.where or "").rpartition(":")[2]
    lines = source.decode("utf-8", "replace").splitlines()
    at = int(number) if number.isdecimal() else 0
    return lines[at - 1] if 0 < at <= len(lines) else ""


def _modules(directory: Path) -> Iterator[Path]:
    """Yield the modules of a directory named `lib`, and of those below it."""
    for place, folders, files in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        if _MODULES in (directory.name, *Path(place).relative_to(directory).parts):
            yield from (Path(place, name) for name in sorted(files) if name.endswith(".lua"))
