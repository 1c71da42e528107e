"""The spellbook: finds, loads, checks and reloads the spells of a project.

A file that does not load keeps its older version alive, and says so. Casts
under way finish on the version they began with. Nothing here casts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmspell.config import Project
from llmspell.errors import (
    ConfigError,
    InternalError,
    LlmspellError,
    SpecDuplicate,
    SpecError,
    SpellNotFound,
    nearest,
)
from llmspell.host.catalogue import Catalogue, Published
from llmspell.host.shelf import Shelf, build_shelf
from llmspell.host.sources import (
    SourceFile,
    bundled_spells,
    find_spells,
    leading_comment,
    library_bundles,
    read_modules,
    read_source,
    source_name,
    version_of,
)
from llmspell.host.watching import watch_files
from llmspell.runs.castable import Castable, make_castable
from llmspell.runs.parts import with_parts
from llmspell.runtime.engine import Engine, Program, ScriptLimits
from llmspell.spec.library import read_file
from llmspell.spec.origin import Origin
from llmspell.values import Object, canonical

log = logging.getLogger(__name__)

BUNDLE = "bundle:"
"""What an entry of the setting `publish` begins with that names a bundle of llmspell."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one file: its newest good version, and what is wrong with a newer one."""

    file: SourceFile
    version: str
    """Version of the sources last looked at, good or not."""
    castable: Castable | None
    problem: LlmspellError | None


class Spellbook:
    """The spells of one project.

    Args:
        engine: The engine of the files' language.
        limits: Limits of loading one file.
    """

    def __init__(self, project: Project, engine: Engine, limits: ScriptLimits) -> None:
        self._project = project
        self._engine = engine
        self._limits = limits
        self._entries: dict[Path, Entry] = {}
        self._by_name: dict[str, Castable] = {}
        self._parts: dict[str, Castable] = {}
        self.shelf = Shelf()
        """What is published to read and to fill in."""
        self._catalogue = Catalogue(generation=0, spells=())
        self._listeners: list[Callable[[Catalogue], None]] = []
        self._lock = asyncio.Lock()

    @property
    def catalogue(self) -> Catalogue:
        """What is published now."""
        return self._catalogue

    def get(self, name: str) -> Castable | None:
        """Return the published castable of a name, or None."""
        return self._by_name.get(name)

    def unknown(self, name: str) -> SpellNotFound:
        """Return the error for a name that is not published."""
        return SpellNotFound(f"no spell named {name!r}", hint=self.suggest(name))

    def part(self, label: str) -> Castable | None:
        """Return a part of a published file by its label, or None; see `runs.parts`."""
        return self._parts.get(label)

    def suggest(self, name: str) -> str:
        """Return a hint for a name that is not published."""
        return self._catalogue.suggest(name)

    def on_change(self, listener: Callable[[Catalogue], None]) -> Callable[[], None]:
        """Call `listener` after each change; return what ends that."""
        self._listeners.append(listener)

        def end() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return end

    async def reload(self) -> Catalogue:
        """Look at every file again, load what changed, and return what is published now."""
        async with self._lock:
            entries: dict[Path, Entry] = {}
            for file in self._files():
                entries[file.path] = await self._look(file)
            self._entries = entries
            self._publish()
            return self._catalogue

    async def check(self, paths: Sequence[Path]) -> list[LlmspellError]:
        """Load files without publishing them, and return what is wrong with them."""
        files = [
            SourceFile(path, source_name(self._project.root, path))
            for given in paths
            for path in (
                [file.path for file in find_spells(self._project.root, given)]
                if given.is_dir()
                else [given]
            )
        ]
        problems: list[LlmspellError] = []
        for file in files:
            try:
                await self.load(file)
            except LlmspellError as error:
                problems.append(error)
        return problems

    async def load(self, file: SourceFile) -> Castable:
        """Load and check one file.

        Raises:
            SpecError: What is wrong with it, with file and line.
            LimitError: Its top level hit a limit.
        """
        program = self._program(file.path, file.name)
        return await self.load_program(program, default_name=file.path.stem)

    async def load_program(self, program: Program, *, default_name: str) -> Castable:
        """Load and check a program.

        Args:
            default_name: The spell's name where its file gives none.

        Raises:
            SpecError: What is wrong with it, with file and line.
            LimitError: Its top level hit a limit.
        """
        loaded = await self._engine.load(program, self._limits)
        origin = Origin(program.name, program.source.decode("utf-8", "replace"))
        spec = read_file(loaded.declaration, origin, default_name=default_name)
        if not spec.description:
            spec = spec.model_copy(update={"description": leading_comment(origin.source)})
        castable = make_castable(
            spec,
            origin,
            self._engine,
            program=program,
            declaration=loaded.declaration,
            named=loaded.names,
        )
        return with_parts(castable)

    def program_of(self, name: str, source: bytes, directory: Path | None = None) -> Program:
        """Return the program of a source text that is not a file of the project."""
        modules = read_modules(source, self._module_roots(directory or self._project.root))
        return Program(
            name=name,
            source=source,
            modules=modules,
            version=version_of(self._engine.version, name, source, modules),
        )

    async def watch(self) -> None:
        """Reload whenever a file changes, until cancelled."""
        await watch_files(self._project.root, self._directories, self.reload)

    # -- inside

    def _files(self) -> list[SourceFile]:
        files: list[SourceFile] = []
        for directory in self._spell_directories():
            root = self._project.root if directory == self._project.spells else directory.parent
            files += find_spells(root, directory)
        for name, directory in self._bundles().items():
            files += find_spells(directory.parent, directory, bundle=name)
        return files

    def _bundles(self) -> dict[str, Path]:
        """Return the bundles of llmspell that settings list.

        Raises:
            ConfigError: They list one that there is not.
        """
        listed = [
            name.removeprefix(BUNDLE)
            for name in self._project.settings.publish
            if name.startswith(BUNDLE)
        ]
        known = library_bundles() if listed else {}
        for name in listed:
            if name not in known:
                close = nearest(name, sorted(known))
                raise ConfigError(
                    f"publish: there is no bundle {name!r}",
                    hint=f"did you mean {BUNDLE}{close}?"
                    if close
                    else f"there are: {', '.join(BUNDLE + each for each in sorted(known))}",
                )
        return {name: known[name] for name in listed}

    def _spell_directories(self) -> list[Path]:
        own = self._project.spells
        # The user's own directory is a project by default: it has the bundled spells.
        if not (self._project.root / "llmspell.toml").is_file() and not own.is_dir():
            return [bundled_spells()]
        return [own]

    def _directories(self) -> list[Path]:
        bundles = self._bundles().values()
        return [*self._spell_directories(), *bundles, self._project.root / "lib"]

    def _module_roots(self, directory: Path) -> tuple[Path, ...]:
        spells = self._spell_directories()[0]
        return (directory, spells, spells / "lib", self._project.root / "lib")

    def _program(self, path: Path, name: str) -> Program:
        source = read_source(path)
        modules = read_modules(source, self._module_roots(path.parent))
        return Program(
            name=name,
            source=source,
            modules=modules,
            version=version_of(self._engine.version, name, source, modules),
        )

    async def _look(self, file: SourceFile) -> Entry:
        old = self._entries.get(file.path)
        last_good = old.castable if old else None
        try:
            version = self._program(file.path, file.name).version
        except SpecError as error:
            error.where = error.where or file.name
            return Entry(file, "", last_good, error)
        if old is not None and old.version == version:
            return old
        try:
            return Entry(file, version, await self.load(file), None)
        except LlmspellError as error:
            error.where = error.where or file.name
            log.warning("%s", error.report())
            return Entry(file, version, last_good, error)
        except Exception as error:  # a fault of ours over one file must not cost the others
            log.exception("loading %s failed", file.name)
            problem = InternalError(f"{type(error).__name__}: {error}", where=file.name)
            return Entry(file, version, last_good, problem)

    def _publish(self) -> None:
        published: dict[str, tuple[Published, Castable]] = {}
        problems: list[Object] = []
        taken: dict[str, str] = {}
        allowed = self._project.settings.publish
        for entry in self._entries.values():
            castable = entry.castable
            if castable is None:
                if entry.problem is not None:
                    problems.append(entry.problem.to_value())
                continue
            name = castable.name
            if not entry.file.bundle and "*" not in allowed and name not in allowed:
                continue
            other = taken.setdefault(name.lower(), entry.file.name)
            if other != entry.file.name:
                error = SpecDuplicate(
                    f"the name {name!r} is taken by {other}",
                    where=castable.origin.where(castable.spec.line, "name"),
                )
                problems.append(error.to_value())
                continue
            problem = entry.problem.to_value() if entry.problem else None
            if problem is not None:
                problems.append(problem)
            published[name] = (_published(castable, entry.file, problem), castable)
        everything = [published[name] for name in sorted(published)]
        self.shelf, taken_twice = build_shelf(
            (castable, shown.bundle) for shown, castable in everything
        )
        problems += [problem.to_value() for problem in taken_twice]
        spells = [item for item in everything if item[1].spec.kind not in ("resource", "prompt")]
        self._by_name = {castable.name: castable for _, castable in spells}
        self._parts = {
            label: part for _, castable in everything for label, part in castable.parts.items()
        }
        catalogue = Catalogue(
            generation=self._catalogue.generation + 1,
            spells=tuple(shown for shown, _ in spells),
            problems=tuple(problems),
            resources=self.shelf.resources,
            prompts=self.shelf.prompts,
        )
        if self._catalogue.generation and _same(catalogue, self._catalogue):
            return
        self._catalogue = catalogue
        for listener in list(self._listeners):
            listener(self._catalogue)


def _same(new: Catalogue, old: Catalogue) -> bool:
    return (
        new.spells == old.spells
        and new.resources == old.resources
        and new.prompts == old.prompts
        and canonical(list(new.problems)) == canonical(list(old.problems))
    )


def _published(castable: Castable, file: SourceFile, problem: Object | None) -> Published:
    spec = castable.spec
    return Published(
        name=spec.name,
        title=spec.title,
        description=spec.description,
        input_schema=spec.input,
        output_schema=spec.output,
        read_only=spec.read_only,
        destructive=spec.destructive,
        idempotent=spec.idempotent,
        open_world=spec.open_world,
        tags=spec.tags,
        examples=tuple(example.model_dump(exclude_unset=True) for example in spec.examples),
        expose_mcp=spec.expose.mcp,
        expose_a2a=spec.expose.a2a,
        version=castable.version,
        file=file.name,
        bundle=file.bundle,
        kind=spec.kind,
        wait=spec.wait,
        when_long=spec.when_long,
        task=spec.task,
        icon=spec.icon,
        problem=problem,
    )
