"""What the file system needs to be told so that what was written there stays written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def sync_directory(path: Path) -> None:
    """Make what was created, renamed or deleted in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_durably(source: Path, target: Path) -> int:
    """Copy a directory of plain files to one that does not exist yet, and return its bytes.

    Nothing is shared with the source, not by links either.

    Raises:
        OSError: It could not be done; part of the copy may be there.
    """
    target.mkdir(mode=0o700)
    copied = 0
    for path in sorted(source.iterdir()):
        with path.open("rb") as read, (target / path.name).open("wb") as written:
            shutil.copyfileobj(read, written, 1 << 20)
            copied += written.tell()
            written.flush()
            os.fsync(written.fileno())
    sync_directory(target)
    return copied
