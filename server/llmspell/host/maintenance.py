"""What is done to a database while no owner has it open: verifying it, restoring a checkpoint.

Each takes the lock of the state directory meanwhile, so no owner can begin.
"""

from __future__ import annotations

from pathlib import Path

from llmspell import plugins
from llmspell.clock import Clock, SystemClock
from llmspell.errors import StateError, StateOwned
from llmspell.host.lock import OwnerLock
from llmspell.host.state_admin import verify
from llmspell.state.checkpoints import DIRECTORY, checkpoints_in
from llmspell.state.restoring import DATABASE, Restored, finish_restore
from llmspell.state.restoring import restore as restore_copy
from llmspell.state.store import Verification


async def verify_database(state: Path) -> Verification:
    """Read every row of the database of a state directory nobody owns.

    Raises:
        StateOwned: Somebody owns it.
        StateError: There is no database, or it can't be opened.
    """
    lock = _take(state)
    try:
        finish_restore(state)
        database = state / DATABASE
        if not database.exists():
            raise StateError(f"no database in {str(state)!r}", hint="--state names the directory")
        return await _read(database)
    finally:
        lock.release()


async def restore_checkpoint(
    checkpoint: str, state: Path, *, clock: Clock | None = None
) -> Restored:
    """Put a copy of a checkpoint in the place of the database of a state directory nobody owns.

    Args:
        checkpoint: Name of an automatic one, or a path.
        state: The state directory.
        clock: Names what is moved aside; the machine's own when None.

    Raises:
        StateOwned: Somebody owns it.
        StateError: See `state.restoring.restore`.
    """
    lock = _take(state)
    try:
        named = {each.name: Path(each.path) for each in checkpoints_in(state / DIRECTORY)}
        return await restore_copy(
            named.get(checkpoint, Path(checkpoint)),
            state,
            verify=_read,
            clock=clock or SystemClock(),
        )
    finally:
        lock.release()


def _take(state: Path) -> OwnerLock:
    try:
        return OwnerLock.take(state)
    except StateOwned as error:
        raise StateOwned(
            error.message, hint="end its owner first: llmspell stop", data=error.data
        ) from None


async def _read(database: Path) -> Verification:
    store = plugins.load("stores", "rocksdb").open(database)
    try:
        return await verify(store)
    finally:
        await store.close()
