"""The files of a project that settings publish as resources: found, read and watched.

Nothing outside the project is ever read: not by `..`, not through a symbolic
link. Hidden files and directories are never published, nor is the state
directory.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import mimetypes
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from llmspell.errors import OutputTooLarge, ResourceNotFound
from llmspell.host.library_interface import PublishedResource, ResourceContent

MAX_FILES = 2000
"""Most files that are published; the rest, in the order of their paths, are left out."""

_TYPES = {".md": "text/markdown", ".lua": "text/x-lua", ".toml": "application/toml"}
_WAIT_MS = 1000

_log = logging.getLogger(__name__)


class ProjectFiles:
    """The published files of one project.

    Args:
        patterns: Relative to `root`, such as `docs/**/*.md`.
        state: The state directory, which is never published.
        limit_bytes: Largest file that is read.
    """

    def __init__(
        self, root: Path, patterns: Sequence[str], *, state: Path, limit_bytes: int
    ) -> None:
        self._root = root
        self._patterns = tuple(patterns)
        self._state = state
        self._limit_bytes = limit_bytes

    async def list(self) -> list[PublishedResource]:
        """Return the published files as they are now, sorted by URI."""
        if not self._patterns:
            return []
        return await asyncio.to_thread(self._list)

    async def has(self, uri: str) -> bool:
        """Return whether this is the URI of a published file."""
        path = self._path(uri)
        return path is not None and await asyncio.to_thread(lambda: path in self._found())

    async def read(self, uri: str) -> ResourceContent:
        """Return a published file's content.

        Raises:
            ResourceNotFound: It is none, or cannot be read.
            OutputTooLarge: It is larger than the limit.
        """
        path = self._path(uri)
        if path is None:
            raise ResourceNotFound(f"no published file has the URI {uri[:200]!r}")
        return await asyncio.to_thread(self._read, uri, path)

    async def watch(self, changed: Callable[[Sequence[str], bool], None]) -> None:
        """Call `changed` with the URIs whose files changed and whether the list did, until
        cancelled."""
        if not self._patterns:
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(changed, is_deep=True))
            group.create_task(self._watch(changed, is_deep=False))

    # -- inside

    def _list(self) -> list[PublishedResource]:
        resources: list[PublishedResource] = []
        for path in sorted(self._found()):
            try:
                size = path.stat().st_size
            except OSError:
                continue  # it was deleted meanwhile
            name = path.relative_to(self._root).as_posix()
            resources.append(
                PublishedResource(
                    uri=path.as_uri(), name=name, media_type=_media_type(path), size=size
                )
            )
        return sorted(resources, key=lambda resource: resource.uri)

    def _found(self) -> set[Path]:
        root = self._root.resolve()
        found: set[Path] = set()
        for pattern in self._patterns:
            for path in sorted(self._root.glob(pattern)):
                if self._is_published(path, root):
                    found.add(path)
                if len(found) >= MAX_FILES:
                    _log.warning("mcp.resources finds more than %d files", MAX_FILES)
                    return found
        return found

    def _is_published(self, path: Path, root: Path) -> bool:
        relative = path.relative_to(self._root)
        if any(part.startswith(".") or part == ".." for part in relative.parts):
            return False
        real = path.resolve()
        return (
            real.is_file()
            and real.is_relative_to(root)
            and not any(part.startswith(".") for part in real.relative_to(root).parts)
            and not real.is_relative_to(self._state.resolve())
        )

    def _path(self, uri: str) -> Path | None:
        if not self._patterns:
            return None
        try:
            parts = urlsplit(uri)
        except ValueError:
            return None
        text = unquote(parts.path)
        if parts.scheme != "file" or parts.netloc not in ("", "localhost") or "\0" in text:
            return None
        path = Path(text)
        # Of one file there is one URI: anything else than the listed one is no resource.
        return path if path.is_absolute() and path.as_uri() == uri else None

    def _read(self, uri: str, path: Path) -> ResourceContent:
        if path not in self._found():
            raise ResourceNotFound(f"no published file has the URI {uri[:200]!r}")
        try:
            with path.resolve().open("rb") as file:
                data = file.read(self._limit_bytes + 1)
        except OSError as error:
            raise ResourceNotFound(f"{path.name} cannot be read: {error.strerror}") from None
        if len(data) > self._limit_bytes:
            raise OutputTooLarge(
                f"{path.name} is larger than {self._limit_bytes} bytes",
                hint="publish smaller files, or raise the setting limits.output_bytes",
            )
        try:
            text = data.decode()
        except UnicodeDecodeError:
            media_type = _media_type(path) or "application/octet-stream"
            return ResourceContent(
                uri=uri, media_type=media_type, data=base64.b64encode(data).decode()
            )
        return ResourceContent(uri=uri, media_type=_media_type(path) or "text/plain", text=text)

    # -- watching

    def _directories(self, *, is_deep: bool) -> list[Path]:
        """Return the directories below which, or in which, published files may be."""
        found: set[Path] = set()
        for pattern in self._patterns:
            *folders, _ = PurePosixPath(pattern).parts
            fixed: list[str] = []
            for folder in folders:
                if any(letter in folder for letter in "*?["):
                    break
                fixed.append(folder)
            if (len(fixed) < len(folders)) == is_deep:
                directory = self._root.joinpath(*fixed)
                if directory.is_dir():
                    found.add(directory)
        return sorted(found)

    async def _watch(
        self, changed: Callable[[Sequence[str], bool], None], *, is_deep: bool
    ) -> None:
        from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType]  # its filter

        before = await asyncio.to_thread(self._found)
        while True:
            directories = self._directories(is_deep=is_deep)
            if not directories:
                await asyncio.sleep(_WAIT_MS / 1000)
                continue
            async for changes in awatch(
                *directories, recursive=is_deep, rust_timeout=_WAIT_MS, yield_on_timeout=True
            ):
                if changes:
                    known = await asyncio.to_thread(self._found)
                    paths = {Path(name) for _, name in changes} & (known | before)
                    if paths:
                        changed([path.as_uri() for path in sorted(paths)], known != before)
                    before = known
                if self._directories(is_deep=is_deep) != directories:
                    break


def _media_type(path: Path) -> str:
    return _TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or ""
