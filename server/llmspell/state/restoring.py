"""Restoring: a checkpoint put in the place of a database nobody has open.

The checkpoint is copied, never linked, and the copy is verified before the
database is touched. That is moved aside, never deleted. A process killed
anywhere leaves the old database or the new one: between the two renames there
is none, and `finish_restore`, which everyone who opens a database calls first,
does the second. Holding the lock of the state directory is the caller's part.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from llmspell import failpoints
from llmspell.clock import Clock
from llmspell.errors import StateCorrupt, StateDiskFull, StateError
from llmspell.state.checkpoints import DIRECTORY, NEWEST
from llmspell.state.files import copy_durably, sync_directory
from llmspell.state.store import Verification

DATABASE: Final = "db"
"""Where the database is, in the state directory."""

_COPYING: Final = "db.copying"
"""A copy that may be incomplete."""

_READY: Final = "db.restoring"
"""A complete and verified copy that is to take the place of the database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What `restore` did."""

    checkpoint: str
    """Path of the checkpoint, which is as it was."""
    database: str
    """Path of the database, now a copy of it."""
    aside: str | None
    """Where the database that was there is now; None when there was none."""
    rows: int
    bytes: int


async def restore(
    checkpoint: Path,
    state: Path,
    *,
    verify: Callable[[Path], Awaitable[Verification]],
    clock: Clock,
) -> Restored:
    """Put a copy of a checkpoint in the place of the database of a state directory.

    Args:
        checkpoint: Directory of the checkpoint.
        state: The state directory. The caller holds its lock, and nobody has the database open.
        verify: Opens a database, reads all of it, and closes it.
        clock: Names what is moved aside.

    Raises:
        StateError: There is no such checkpoint, or it can't be opened.
        StateCorrupt: It is damaged. The database is as it was.
        StateDiskFull: The copy does not fit on the disk. The database is as it was.
    """
    finish_restore(state)
    if not (checkpoint / "CURRENT").is_file():
        raise StateError(
            f"{str(checkpoint)!r} is no checkpoint",
            hint="'llmspell state backup --list' shows them",
        )
    copying = state / _COPYING
    try:
        shutil.rmtree(copying, ignore_errors=True)
        copy_durably(checkpoint, copying)
        failpoints.hit("restore.copied")
        found = await verify(copying)
        if found.problems:
            raise StateCorrupt(
                f"the checkpoint {str(checkpoint)!r} is damaged: {found.problems[0]}",
                hint="restore an older one; the database is as it was",
            )
        copying.rename(state / _READY)
    except OSError as error:
        shutil.rmtree(copying, ignore_errors=True)
        kind = StateDiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StateError
        raise kind(f"the checkpoint could not be copied: {error.strerror or error}") from error
    except StateError:
        shutil.rmtree(copying, ignore_errors=True)
        raise
    failpoints.hit("restore.ready")
    database, aside = state / DATABASE, None
    if database.exists():
        aside = _unused(state, clock)
        database.rename(aside)
        failpoints.hit("restore.moved")
    finish_restore(state)
    failpoints.hit("restore.done")
    return Restored(
        checkpoint=str(checkpoint),
        database=str(database),
        aside=str(aside) if aside else None,
        rows=sum(found.rows.values()),
        bytes=found.bytes,
    )


def finish_restore(state: Path) -> None:
    """Do what a restore still has to do that was killed after it had moved the database aside.

    One killed before that is dropped: the database is there, and stays.
    """
    ready, database = state / _READY, state / DATABASE
    if not ready.exists():
        return
    if database.exists():
        shutil.rmtree(ready)
        return
    # What the next automatic checkpoint compares with was made of another history.
    (state / DIRECTORY / NEWEST).unlink(missing_ok=True)
    ready.rename(database)
    sync_directory(state)


def _unused(state: Path, clock: Clock) -> Path:
    time = datetime.fromtimestamp(clock.time(), UTC).strftime("%Y%m%dT%H%M%SZ")
    path = state / f"{DATABASE}.before-{time}"
    number = 1
    while path.exists():
        number += 1
        path = state / f"{DATABASE}.before-{time}-{number}"
    return path
