"""The versions of spells that runs were cast with, kept so that a run can go on with its own.

A run is resumed with the sources it began with, whatever the files say now. They
are stored once per version, with the first save of a run that has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import msgspec

from llmspell.errors import RunDiverged, SpecError
from llmspell.host.spellbook import Spellbook
from llmspell.runs.castable import Castable, make_castable
from llmspell.runs.record import Run
from llmspell.runtime.engine import Engine, Program
from llmspell.spec.declaration import SpellSpec
from llmspell.spec.origin import Origin
from llmspell.state.store import Family, Put, Store, Write


class StoredProgram(msgspec.Struct, frozen=True):
    """The sources of one version, as they are stored."""

    name: str
    source: bytes
    modules: dict[str, bytes]
    journal_version: int
    """Of the engine that recorded runs of it."""


_MOST_LOADED = 64
_MOST_STORED = 4096

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(StoredProgram).decode


class Versions:
    """Stores and finds the castables of runs."""

    def __init__(self, store: Store, engine: Engine, book: Spellbook) -> None:
        self._store = store
        self._engine = engine
        self._book = book
        # The newest ones only: every edit and every source text that is cast is a version.
        self._stored: dict[str, None] = {}
        self._loaded: dict[str, Castable] = {}

    def has(self, castable: Castable) -> bool:
        """Return whether nothing needs to be stored for a run of a castable."""
        program = castable.program
        return program is None or program.version in self._stored

    def writes(self, castable: Castable) -> Sequence[Write]:
        """Return what stores a castable's version, while that is not known to be stored."""
        program = castable.program
        if program is None or program.version in self._stored:
            return ()
        stored = StoredProgram(
            program.name, program.source, dict(program.modules), self._engine.journal_version
        )
        return (Put(Family.SOURCE, (program.version,), _encode(stored)),)

    def stored(self, castable: Castable) -> None:
        """Note that a castable's version is stored."""
        if castable.program is not None:
            if len(self._stored) >= _MOST_STORED:
                del self._stored[next(iter(self._stored))]
            self._stored[castable.program.version] = None

    async def of(self, run: Run) -> Castable:
        """Return the version of a spell that a run was begun with.

        Raises:
            RunDiverged: It is not stored, or this llmspell would perform it in another way.
            SpecError: It does not load any more.
        """
        published = self._book.get(run.spell) or self._book.part(run.spell)
        if published is not None and published.version == run.spell_version and not run.source:
            return published
        cached = self._loaded.get(run.spell_version)
        if cached is None:
            cached = await self._load(run)
            if len(self._loaded) >= _MOST_LOADED:
                del self._loaded[next(iter(self._loaded))]
            self._loaded[run.spell_version] = cached
        return cached

    async def _load(self, run: Run) -> Castable:
        entry = await self._store.get(Family.SOURCE, (run.spell_version,))
        if entry is None:
            raise RunDiverged(f"the sources of version {run.spell_version[:12]!r} are not stored")
        stored = _decode(entry.value)
        if stored.journal_version != self._engine.journal_version:
            raise RunDiverged(
                f"run {run.id} was recorded by an llmspell that asks for effects in another order",
                hint=f"begin it again from its steps: llmspell runs fork {run.id} --step N",
                data={
                    "recorded": stored.journal_version,
                    "supported": self._engine.journal_version,
                },
            )
        program = Program(
            name=stored.name,
            source=stored.source,
            modules=stored.modules,
            version=run.spell_version,
        )
        if run.source:
            return source_castable(run.spell, program, self._engine)
        file = await self._book.load_program(program, default_name=_default_name(run, stored.name))
        castable = file.parts.get(run.spell, file)
        if castable.name != run.spell:
            raise SpecError(f"{stored.name} declares {castable.name!r} and not {run.spell!r}")
        return castable


def _default_name(run: Run, file: str) -> str:
    """Return the name of what a file declares without one: a part's run has only its label."""
    return PurePosixPath(file).stem if ":" in run.spell else run.spell


def source_castable(name: str, program: Program, engine: Engine) -> Castable:
    """Return the castable of a source text whose top level is the cast."""
    origin = Origin(program.name, program.source.decode("utf-8", "replace"))
    return make_castable(SpellSpec(name=name), origin, engine, program=program, unrestricted=True)
