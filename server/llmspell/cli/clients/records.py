"""What `install` has done to clients' files, kept so that `uninstall` can undo it to the byte.

A record holds our own entries and hashes of what the files held, nothing of
what else stands in them. It may be lost or out of date: then an entry is taken
out by what the file says, and only white space may differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from llmspell.bridge.places import user_data_directory
from llmspell.bridge.spawning import private_directory
from llmspell.cli.clients import files
from llmspell.cli.clients.edits import Splice
from llmspell.errors import ClientFileError
from llmspell.values import Object

FILE_NAME = "installed.json"


class Change(msgspec.Struct, frozen=True):
    """One edit of a file: after it, `name` in the object at `keys` has the value `entry`."""

    keys: tuple[str, ...]
    name: str
    entry: Object
    splices: list[Splice]
    after: str
    """Hash of the text it led to."""
    made: list[tuple[str, ...]] = []
    """The keys of the objects it had to make."""


class Record(msgspec.Struct):
    """All there is to know of one file."""

    made_file: bool = False
    made_directories: list[str] = []
    made_objects: list[tuple[str, ...]] = []
    """What edits that are no longer known exactly have made."""
    changes: list[Change] = []
    """The edits that led from a text of somebody else's to one that was ours, in their order."""


class Records:
    """The records of one user.

    Args:
        path: The file they are kept in; it need not exist.

    Raises:
        ClientFileError: It can't be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = files.read(path)
        self._records: dict[str, Record] = {}
        if self._text is None:
            return
        try:
            self._records = msgspec.json.decode(self._text, type=dict[str, Record])
        except msgspec.DecodeError as error:
            raise ClientFileError(
                f"{path} is damaged: {error}", hint="delete it; entries are then found without it"
            ) from None

    @classmethod
    def of_user(cls, environ: Mapping[str, str]) -> Records:
        """Return the records of whoever runs this."""
        return cls(user_data_directory(environ) / FILE_NAME)

    def get(self, path: Path, text: str | None) -> Record:
        """Return the record of a file that now holds `text`.

        Edits that did not lead to it, because somebody has edited the file since, are left out.
        """
        record = self._records.get(str(path)) or Record()
        now = fingerprint(text or "")
        known = [change.after for change in record.changes]
        count = len(known) - known[::-1].index(now) if now in known else 0
        lost = [keys for change in record.changes[count:] for keys in change.made]
        return msgspec.structs.replace(
            record, changes=record.changes[:count], made_objects=record.made_objects + lost
        )

    def put(self, path: Path, record: Record) -> None:
        """Keep what is known of a file; an empty record is forgotten.

        Raises:
            ClientFileError: It can't be written.
        """
        if record == Record():
            self._records.pop(str(path), None)
        else:
            self._records[str(path)] = record
        if not self._records:
            if self._text is not None:
                files.delete(self._path, [])
            self._text = None
            return
        text = msgspec.json.format(msgspec.json.encode(self._records), indent=1).decode()
        private_directory(self._path.parent)
        files.write(self._path, text, before=self._text)
        self._text = text


def fingerprint(text: str) -> str:
    """Return the hash that stands for a text."""
    return hashlib.sha256(text.encode()).hexdigest()
