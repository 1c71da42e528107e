"""All tests of some files, one after the other."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from llmspell import plugins
from llmspell.authoring.testing.collecting import collect
from llmspell.authoring.testing.coverage import Coverage
from llmspell.authoring.testing.engine import WatchedEngine
from llmspell.authoring.testing.trial import Result, try_case
from llmspell.config import Project
from llmspell.errors import LlmspellError
from llmspell.host.sources import source_name
from llmspell.host.spellbook import Spellbook
from llmspell.runtime.engine import Engine, ScriptLimits


async def run_tests(
    project: Project, files: Sequence[Path], *, coverage: Coverage | None = None
) -> AsyncGenerator[Result]:
    """Run the tests of these files, yielding how each ended.

    A file that does not load is one failed result. Needs no owner and opens no database.

    Args:
        coverage: Told which lines run; everything then computes much slower.
    """
    limits = project.settings.limits
    covered = coverage.add if coverage is not None else None
    inner: Engine = plugins.load("engines", "lua")(idle_workers=2, covered=covered)
    engine = WatchedEngine(inner)
    load_limits = ScriptLimits(heap_bytes=limits.heap_bytes, slice_seconds=limits.load_seconds)
    book = Spellbook(project, engine, load_limits)
    try:
        await book.reload()
        for path in files:
            try:
                file = await collect(path, project, book, engine, load_limits)
            except LlmspellError as error:
                name = source_name(project.root, path)
                error.where = error.where or name
                yield Result(file=name, name="", line=0, error=error)
                continue
            for case in file.cases:
                yield await try_case(file, case, project, engine, book)
    finally:
        await inner.close()
