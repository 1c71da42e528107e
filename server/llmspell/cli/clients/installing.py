"""Putting an entry into a client's file, and taking it out again as if it had never been there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from llmspell.cli.clients import edits, files
from llmspell.cli.clients.entry import is_ours, project_of
from llmspell.cli.clients.jsonc import Document, JsoncError, ObjectNode, parse, to_value
from llmspell.cli.clients.known import Site
from llmspell.cli.clients.records import Change, Record, Records, fingerprint
from llmspell.errors import ClientFileError, UsageError
from llmspell.values import JSON, Object


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a file."""

    path: Path
    """The file itself, behind symbolic links."""
    before: str | None
    """Its text; None when there was no file."""
    after: str | None
    """Its text; None when there is none any more."""
    backup: Path | None = None
    """Where a copy of what it held lies, if one was left."""

    @property
    def changed(self) -> bool:
        """Whether anything was written."""
        return self.before != self.after


def put_in(site: Site, name: str, entry: Object, records: Records) -> Result:
    """Add an entry to a client's file, or bring the one that is there up to date.

    What somebody has added to our entry, such as variables, stays.

    Raises:
        UsageError: The name is taken by an entry that is not ours, or is another project's.
        ClientFileError: The file can't be read, understood or written; it is then as it was.
    """
    path = files.real(site.path)
    before = files.read(path)
    document = _parsed(path, before or "")
    node = document.at((*site.keys, name))
    if node is None:
        edit, value = _insertion(path, document, site, name, entry), entry
    else:
        there = to_value(node)
        check_replaceable(path, name, there, entry)
        value: Object = {**there, **entry}
        if value == there:
            return Result(path, before, before)
        edit = edits.replace(document, site.keys, name, value)
    after = edits.apply(document.text, edit)
    known = records.get(path, before)
    missing = _missing(document, site.keys)
    change = Change(site.keys, name, value, edit, fingerprint(after), missing)
    backup = files.back_up(path, before) if before is not None else None
    made = files.make_directories(path.parent)
    record = msgspec.structs.replace(known, changes=[*known.changes, change])
    if before is None:
        record = msgspec.structs.replace(
            record, made_file=True, made_directories=[str(directory) for directory in made]
        )
    records.put(path, record)
    mode = files.SHARED if site.scope == "project" else files.PRIVATE
    try:
        files.write(path, after, before=before, mode=mode)
    except ClientFileError:
        records.put(path, known)
        files.remove_directories(made)
        raise
    return Result(path, before, after, backup)


def take_out(site: Site, name: str, records: Records) -> Result:
    """Take our entry out of a client's file.

    When nobody else has edited the file since it came, the file is what it was
    before, to the byte; it is deleted when it was made for the entry.

    Raises:
        UsageError: The entry is not ours.
        ClientFileError: The file can't be read, understood or written; it is then as it was.
    """
    path = files.real(site.path)
    before = files.read(path)
    document = _parsed(path, before or "")
    node = document.at((*site.keys, name))
    if before is None or node is None:
        return Result(path, before, before)
    if not is_ours(to_value(node)):
        raise not_ours(path, name)
    known = records.get(path, before)
    undone = _undone(before, known, site, name)
    after, record = undone or _without(document, known, site, name)
    backup = files.back_up(path, before) if undone is None else None
    if known.made_file and _is_empty(parse(after)):
        files.delete(path, [Path(directory) for directory in known.made_directories])
        records.put(path, Record())
        files.backup_of(path).unlink(missing_ok=True)
        return Result(path, before, None)
    files.write(path, after, before=before)
    records.put(path, record)
    if undone is not None and not record.changes:
        # It would only show what the file itself holds again.
        files.backup_of(path).unlink(missing_ok=True)
    return Result(path, before, after, backup)


def read_servers(site: Site) -> Object:
    """Return all entries of a client's file by name; none when there is no file.

    Raises:
        ClientFileError: The file can't be read or understood.
    """
    path = files.real(site.path)
    node = _parsed(path, files.read(path) or "").at(site.keys)
    return to_value(node) if isinstance(node, ObjectNode) else {}


def _parsed(path: Path, text: str) -> Document:
    try:
        return parse(text)
    except JsoncError as error:
        raise ClientFileError(
            f"not JSON: {error.message}",
            where=f"{path}:{error.line}",
            hint="mend the file first; nothing was written",
        ) from None


def _insertion(
    path: Path, document: Document, site: Site, name: str, entry: Object
) -> list[edits.Splice]:
    try:
        return edits.insert(document, site.keys, name, entry)
    except edits.NotAnObject as error:
        raise ClientFileError(
            str(error),
            where=f"{path}:{error.line}",
            hint="mend the file first; nothing was written",
        ) from None


def check_replaceable(path: Path, name: str, there: JSON, entry: Object) -> None:
    """Check that an entry of this name may be brought up to date.

    Raises:
        UsageError: It is not ours, or is another project's.
    """
    if not is_ours(there):
        raise not_ours(path, name)
    other = project_of(there)
    if other != project_of(entry):
        raise UsageError(
            f"{name!r} in {path} is the project {other!r}",
            hint="choose another name with --name NAME, or uninstall that one first",
        )


def not_ours(path: Path, name: str) -> UsageError:
    """Return the error that says that an entry is somebody else's."""
    return UsageError(
        f"{name!r} in {path} is not an entry of llmspell",
        hint="choose another name with --name NAME",
    )


def _undone(text: str, known: Record, site: Site, name: str) -> tuple[str, Record] | None:
    """Undo what brought an entry and redo what came after it; None when that is not known."""
    key = (site.keys, name)
    mine = [(change.keys, change.name) == key for change in known.changes]
    if True not in mine:
        return None
    first = mine.index(True)
    later: dict[tuple[tuple[str, ...], str], Object] = {}
    for change in reversed(known.changes[first:]):
        text = edits.apply(text, edits.reverse(change.splices))
    for change in known.changes[first:]:
        later[change.keys, change.name] = change.entry
    changes = known.changes[:first]
    for (keys, other), entry in later.items():
        if (keys, other) == key:
            continue
        document = parse(text)
        missing = _missing(document, keys)
        change_of = edits.insert if document.at((*keys, other)) is None else edits.replace
        splices = change_of(document, keys, other, entry)
        text = edits.apply(text, splices)
        changes = [*changes, Change(keys, other, entry, splices, fingerprint(text), missing)]
    return text, msgspec.structs.replace(known, changes=changes)


def _missing(document: Document, keys: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the keys of the objects on the way to `keys` that are not there."""
    every = (keys[:count] for count in range(1, len(keys) + 1))
    return [each for each in every if document.at(each) is None]


def _without(document: Document, known: Record, site: Site, name: str) -> tuple[str, Record]:
    """Take an entry out by what the file says, and objects we made that are empty without it."""
    while document.at((*site.keys, name)) is not None:
        edit = edits.remove(document, site.keys, name)
        document = parse(edits.apply(document.text, edit))
    made = [*known.made_objects, *(keys for change in known.changes for keys in change.made)]
    for keys in sorted(made, key=len, reverse=True):
        node = document.at(keys)
        if isinstance(node, ObjectNode) and not node.members and not node.comments:
            edit = edits.remove(document, keys[:-1], keys[-1])
            document = parse(edits.apply(document.text, edit))
    left = [keys for keys in made if document.at(keys) is not None]
    return document.text, msgspec.structs.replace(known, made_objects=left, changes=[])


def _is_empty(document: Document) -> bool:
    root = document.root
    nothing = root is None or (isinstance(root, ObjectNode) and not root.members)
    return nothing and not document.comments
