"""The files a spellbook reads: which are spells, and which modules each requires."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from llmspell.errors import SpecError
from llmspell.values import content_hash

MAX_SOURCE_BYTES = 1 << 20
"""Largest source file."""

_REQUIRE = re.compile(rb"""\brequire\s*+\(?\s*+["']([\w.\-/]+)["']""")
_MODULE_NAME = re.compile(r"[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]+)*")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that should publish a spell."""

    path: Path
    name: str
    """As errors name it, relative to the project."""
    bundle: str = ""
    """The bundle of llmspell it belongs to; "" = none."""


def bundled_spells() -> Path:
    """Return the directory of the spells that come with llmspell."""
    import llmspell

    package = Path(llmspell.__file__).parent
    inside = package / "spells"
    # In a checkout the spells stand at its top; a wheel carries them in the package.
    return inside if inside.is_dir() else package.parent.parent / "spells"


def library_bundles() -> dict[str, Path]:
    """Return the bundles that come with llmspell: each a directory of spells, by its name.

    A bundle is published as a whole, and only where settings list it.
    """
    return {
        path.name: path
        for path in sorted(bundled_spells().iterdir())
        if path.is_dir() and _holds_spells(path.name)
    }


def _holds_spells(folder: str) -> bool:
    return not folder.startswith((".", "_")) and folder != "lib"


def find_spells(root: Path, spells: Path, *, bundle: str = "") -> list[SourceFile]:
    """Return the spell files under `spells`, sorted by path.

    Hidden directories, `lib/` (modules), `*_test.lua` and the bundles of llmspell are no spells.
    """
    found: list[SourceFile] = []
    has_bundles = spells.resolve() == bundled_spells().resolve()
    for directory, folders, files in os.walk(spells):
        folders[:] = [] if has_bundles else sorted(filter(_holds_spells, folders))
        for file in sorted(files):
            if file.endswith(".lua") and not file.endswith("_test.lua"):
                path = Path(directory, file)
                found.append(SourceFile(path, source_name(root, path), bundle))
    return found


def source_name(root: Path, path: Path) -> str:
    """Return how errors name a file: relative to the project where it lies in it."""
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return path.name


def read_source(path: Path) -> bytes:
    """Return a source file's bytes.

    Raises:
        SpecError: It cannot be read, or is larger than `MAX_SOURCE_BYTES`.
    """
    try:
        size = path.stat().st_size
        if size > MAX_SOURCE_BYTES:
            raise SpecError(f"{path.name} has {size} bytes; the limit is {MAX_SOURCE_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise SpecError(f"{path.name} cannot be read: {error.strerror}") from None


def read_modules(source: bytes, roots: tuple[Path, ...]) -> Mapping[str, bytes]:
    """Return every module `source` requires by a literal name, and those they require in turn.

    A name's dots are directories. Names that are found nowhere are left out:
    the script's own `require` reports them with their line.
    """
    found: dict[str, bytes] = {}
    todo = list(_required(source))
    while todo:
        name = todo.pop()
        if name in found:
            continue
        path = _module_path(name, roots)
        if path is None:
            continue
        found[name] = read_source(path)
        todo += _required(found[name])
    return dict(sorted(found.items()))


def version_of(engine_version: str, name: str, source: bytes, modules: Mapping[str, bytes]) -> str:
    """Return the content hash that stands for these sources under this engine."""
    parts = [engine_version.encode(), name.encode(), source]
    for module, text in sorted(modules.items()):
        parts += [module.encode(), text]
    return content_hash(*parts)


def leading_comment(source: str) -> str:
    """Return the text of the `--` lines a file begins with."""
    lines: list[str] = []
    for line in source.splitlines():
        if not line.startswith("--") or line.startswith("--["):
            break
        lines.append(line.removeprefix("--").lstrip("-").strip())
    return " ".join(lines).strip()


def _required(source: bytes) -> Iterator[str]:
    for match in _REQUIRE.finditer(source):
        name = match.group(1).decode()
        if _MODULE_NAME.fullmatch(name):
            yield name


def _module_path(name: str, roots: tuple[Path, ...]) -> Path | None:
    relative = Path(*name.split(".")).with_suffix(".lua")
    for root in roots:
        path = root / relative
        if path.is_file():
            return path
    return None
