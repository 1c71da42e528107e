"""A client's file on disk: read whole, copied aside, and replaced in one step."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from llmspell.errors import ClientFileError

BACKUP_ENDING = ".llmspell-backup"
"""What the name of a copy ends with; it lies beside the file and has its mode."""

PRIVATE, SHARED = 0o600, 0o666
"""Modes of a new file, before the umask: a user's own, and one that a project carries."""


def real(path: Path) -> Path:
    """Return the file itself where `path` is a symbolic link."""
    return Path(os.path.realpath(path))


def read(path: Path) -> str | None:
    """Return the text of a file, its byte order mark and line ends included; None without one.

    Raises:
        ClientFileError: It can't be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise ClientFileError(f"{path} is not UTF-8") from None
    except OSError as error:
        raise _failed(path, error) from None


def write(path: Path, text: str, *, before: str | None, mode: int = PRIVATE) -> None:
    """Replace a file, or make it, so that nobody ever sees half of it.

    Args:
        path: Not a symbolic link.
        text: What it is to hold.
        before: What it held when it was read.
        mode: That of a new file; an old one keeps its own.

    Raises:
        ClientFileError: It was changed meanwhile, or can't be written; it is then as it was.
    """
    if before is not None:
        mode = _mode(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # of a process that was killed here
        _write_new(temporary, text, mode, exact=before is not None)
        if read(path) != before:
            raise ClientFileError(f"{path} was changed by somebody else just now", hint="try again")
        os.replace(temporary, path)
        _sync_directory(path.parent)
    except OSError as error:
        raise _failed(path, error) from None
    finally:
        with contextlib.suppress(OSError):  # what went wrong has been told
            temporary.unlink(missing_ok=True)


def back_up(path: Path, text: str) -> Path:
    """Copy what a file held aside and return where to.

    Raises:
        ClientFileError: The copy can't be written.
    """
    copy = backup_of(path)
    try:
        copy.unlink(missing_ok=True)
        _write_new(copy, text, _mode(path), exact=True)
    except OSError as error:
        raise _failed(copy, error) from None
    return copy


def backup_of(path: Path) -> Path:
    """Return where the copy of a file lies."""
    return path.with_name(path.name + BACKUP_ENDING)


def make_directories(path: Path) -> list[Path]:
    """Make a directory and those above it, and return the ones that were missing, outermost first.

    Raises:
        ClientFileError: One can't be made.
    """
    missing: list[Path] = []
    while not path.exists():
        missing.insert(0, path)
        path = path.parent
    try:
        for directory in missing:
            directory.mkdir()
    except OSError as error:
        raise _failed(missing[-1], error) from None
    return missing


def delete(path: Path, directories: Sequence[Path]) -> None:
    """Delete a file, and of these directories those that are then empty.

    Raises:
        ClientFileError: The file can't be deleted.
    """
    try:
        path.unlink()
    except OSError as error:
        raise _failed(path, error) from None
    remove_directories(directories)


def remove_directories(directories: Sequence[Path]) -> None:
    """Remove those of these directories that are empty; given outermost first."""
    for directory in reversed(directories):
        with contextlib.suppress(OSError):  # something else lies in it by now
            directory.rmdir()


def _write_new(path: Path, text: str, mode: int, *, exact: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, mode)
    with os.fdopen(descriptor, "wb") as file:
        if exact:
            os.fchmod(descriptor, mode)  # past the umask
        file.write(text.encode())
        file.flush()
        os.fsync(descriptor)


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(path: Path, error: OSError) -> ClientFileError:
    return ClientFileError(f"{path}: {error.strerror or error}")
