"""Checkpoints: whole copies of the database beside it, made by the hour while something changes.

A checkpoint is made under a temporary name and renamed, so that what has a
checkpoint's name is whole. RocksDB links the files that never change, so one
costs little more than what was written since the last. The way back to one is
`restoring`.

In the state directory: `checkpoints/20260102T030405.678Z/`, named by their time
(UTC), and `checkpoints/newest`, which says what the newest was made of.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol, cast

from llmspell import failpoints
from llmspell.clock import Clock
from llmspell.errors import StateError
from llmspell.state.files import copy_durably, sync_directory
from llmspell.state.store import Store

DIRECTORY: Final = "checkpoints"
"""Where they are, in the state directory."""

NEWEST: Final = "newest"
"""A file there: name of the newest automatic checkpoint, and the version it was made at."""

FIRST_SECONDS: Final = 60.0
"""How long after a start the first may be made: nobody should wait for a start because of it."""

RETRY_SECONDS: Final = 300.0
"""How soon an automatic checkpoint that failed is tried again, at the latest."""

_NAME: Final = re.compile(r"(\d{8}T\d{6}\.\d{3})Z(?:-\d+)?")
_FORM: Final = "%Y%m%dT%H%M%S.%f"
_DAY: Final = 86_400
_TEMPORARY: Final = ".making-"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A whole copy of a database."""

    name: str
    """Its time, and so its place in order; the last part of its path."""
    path: str
    """Absolute."""
    at: float
    """Unix time it was made."""


class Checkpointing(Protocol):
    """What of a store this module uses: a `Store` that lives in files."""

    async def checkpoint(self, path: Path) -> None:
        """Make a copy of the store in a directory that does not exist yet."""
        ...


class Checkpoints:
    """The checkpoints of one database.

    Args:
        store: What they are made of.
        directory: Where they are; need not exist.
        clock: What names them and says when the next is due.
        every_seconds: Time from one automatic checkpoint to the next.
        hourly: How many of the newest are kept.
        daily: Of how many of the newest days with a checkpoint the last one is kept besides.
    """

    def __init__(
        self,
        store: Store,
        directory: Path,
        clock: Clock,
        *,
        every_seconds: float = 3600.0,
        hourly: int = 24,
        daily: int = 7,
    ) -> None:
        self._store = store
        self._directory = directory
        self._clock = clock
        self._every = every_seconds
        self._hourly = hourly
        self._daily = daily
        self._making = asyncio.Lock()
        self._made_at_version: int | None = None

    @property
    def is_possible(self) -> bool:
        """Whether this kind of store lives in files."""
        return hasattr(self._store, "checkpoint")

    async def run(self) -> None:
        """Make a checkpoint whenever one is due, until cancelled. Failures are logged and retried.

        One is due when the newest is `every_seconds` old, so a restart postpones
        none; it is made only when something was committed since.
        """
        if not self.is_possible:
            return
        found = await asyncio.to_thread(self.list)
        begun = self._clock.time()
        due = max(begun + FIRST_SECONDS, found[0].at + self._every if found else 0.0)
        while True:
            # Not longer than usual, also where the clock was set back.
            await self._clock.sleep(min(due - self._clock.time(), self._every + FIRST_SECONDS))
            due = self._clock.time() + self._every
            try:
                await self.make_if_changed()
            except StateError as error:
                # The disk may be full, which the store says too. Nothing waits for this.
                _log.error("no checkpoint was made: %s", error)
                due = self._clock.time() + min(self._every, RETRY_SECONDS)

    async def make_if_changed(self) -> Checkpoint | None:
        """Make a checkpoint unless nothing was committed since the newest.

        Raises:
            StateError: It could not be made.
        """
        if await asyncio.to_thread(self._newest_version) == await self._version():
            return None
        return await self.backup()

    async def backup(self, to: Path | None = None) -> Checkpoint:
        """Make a checkpoint now.

        Args:
            to: An absolute path that does not exist yet, on any disk; it then shares no file
                with the database. None = among the automatic ones, of which those that are
                not to be kept are deleted.

        Raises:
            StateError: The path exists, the disk is full, or the store does not
                live in files. Nothing of it is left behind.
        """
        if not self.is_possible:
            raise StateError(
                "a store in memory has no checkpoints", hint="open the project with RocksDB"
            )
        async with self._making:
            now = self._clock.time()
            if to is not None:
                await self._make(to, copy=True)
                return Checkpoint(name=to.name, path=str(to), at=now)
            # Before, not after: what is committed meanwhile may be in it, or not.
            version = await self._version()
            path = await asyncio.to_thread(self._free, now)
            await self._make(path)
            made = Checkpoint(name=path.name, path=str(path), at=now)
            await asyncio.to_thread(self._made, made, version)
            return made

    def list(self) -> Sequence[Checkpoint]:
        """Return the automatic checkpoints, and those made among them, the newest first."""
        return checkpoints_in(self._directory)

    # -- inside

    async def _version(self) -> int:
        return await self._store.commit(())

    def _newest_version(self) -> int | None:
        """Return the version the newest checkpoint was made at; None when that is not known."""
        try:
            name, _, version = (self._directory / NEWEST).read_text(encoding="utf-8").partition(" ")
            found = self.list()
            return int(version) if found and found[0].name == name else None
        except (OSError, ValueError):
            return None  # then one more is made

    def _free(self, now: float) -> Path:
        name = f"{datetime.fromtimestamp(now, UTC).strftime(_FORM)[:-3]}Z"
        path = self._directory / name
        number = 1
        while path.exists():  # a clock that stands still, or was set back
            number += 1
            path = self._directory / f"{name}-{number}"
        return path

    async def _make(self, path: Path, *, copy: bool = False) -> None:
        """Make a checkpoint at `path`; with `copy` one that shares no file with the database."""
        store = cast(Checkpointing, self._store)
        temporary = self._directory / f"{_TEMPORARY}{path.name}"
        beside = path.with_name(f"{_TEMPORARY}{path.name}")
        try:
            try:
                await asyncio.to_thread(_make_room, path, temporary, beside)
                await store.checkpoint(temporary)
                if copy and beside != temporary:
                    await asyncio.to_thread(copy_durably, temporary, beside)
                failpoints.hit("checkpoint.before_rename")
                await asyncio.to_thread(_rename, beside, path)
            finally:
                await asyncio.to_thread(_remove, temporary, beside)
        except OSError as error:
            text = f"no checkpoint could be made at {str(path)!r}: {error.strerror or error}"
            raise StateError(text, hint="look at the place, and the space there") from error

    def _made(self, checkpoint: Checkpoint, version: int) -> None:
        """Note what the newest was made of, and delete the checkpoints that are not kept."""
        temporary = self._directory / f"{_TEMPORARY}{NEWEST}"
        try:
            temporary.write_text(f"{checkpoint.name} {version}", encoding="utf-8")
            temporary.replace(self._directory / NEWEST)
            self._prune()
        except OSError as error:  # the checkpoint itself is made
            _log.warning("old checkpoints could not be deleted: %s", error)

    def _prune(self) -> None:
        found = self.list()
        kept = {checkpoint.name for checkpoint in found[: self._hourly]}
        days: set[int] = set()
        for checkpoint in found:
            day = int(checkpoint.at // _DAY)
            if day not in days and len(days) < self._daily:
                days.add(day)
                kept.add(checkpoint.name)
        for checkpoint in found:
            if checkpoint.name not in kept:
                # First the name: what is only half deleted must not look like a checkpoint.
                path = Path(checkpoint.path)
                path.rename(path.with_name(f"{_TEMPORARY}{path.name}"))
        # Also those a killed process left half made. Only one process owns them.
        for path in self._directory.glob(f"{_TEMPORARY}*"):
            _remove(path)


def checkpoints_in(directory: Path) -> Sequence[Checkpoint]:
    """Return the checkpoints in a directory, the newest first; none when there is no directory."""
    found: list[tuple[float, int, Checkpoint]] = []
    for path in directory.glob("*Z*"):
        match = _NAME.fullmatch(path.name)
        if match is None or not path.is_dir():
            continue
        at = datetime.strptime(match[1], _FORM).replace(tzinfo=UTC).timestamp()
        number = int(path.name.rpartition("-")[2]) if "-" in path.name else 1
        found.append((at, number, Checkpoint(name=path.name, path=str(path), at=at)))
    return [made for _, _, made in sorted(found, key=lambda each: each[:2], reverse=True)]


def _remove(*paths: Path) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)


def _make_room(path: Path, temporary: Path, beside: Path) -> None:
    if path.exists() or path.is_symlink():
        raise StateError(f"{str(path)!r} exists already", hint="name a path that does not")
    _remove(temporary, beside)
    temporary.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def _rename(made: Path, path: Path) -> None:
    made.rename(path)
    sync_directory(path.parent)
