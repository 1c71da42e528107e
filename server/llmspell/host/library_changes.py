"""Changes of what there is to read: noticed, and told to whoever asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from llmspell.host.catalogue import Catalogue
from llmspell.host.project_files import ProjectFiles
from llmspell.host.shelf import Shelf
from llmspell.host.skills import Skills
from llmspell.host.spellbook import Spellbook
from llmspell.runs.log import ListKind

log = logging.getLogger(__name__)


class LibraryChanges:
    """Follows the spellbook and the published files from `begin` to `close`."""

    def __init__(self, book: Spellbook, files: ProjectFiles, skills: Skills) -> None:
        self._book = book
        self._files = files
        self._skills = skills
        self._shelf: Shelf = book.shelf
        self._listeners: list[Callable[[str, str | None], None]] = []
        self._list_listeners: list[Callable[[ListKind], None]] = []
        self._detach: Callable[[], None] = lambda: None
        self._watcher: asyncio.Task[None] | None = None

    def on_update(self, listener: Callable[[str, str | None], None]) -> Callable[[], None]:
        """Call `listener` with each URI whose content changed; return what ends that."""
        self._listeners.append(listener)

        def end() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return end

    def on_list(self, listener: Callable[[ListKind], None]) -> Callable[[], None]:
        """Call `listener` with each list that changed; return what ends that."""
        self._list_listeners.append(listener)

        def end() -> None:
            if listener in self._list_listeners:
                self._list_listeners.remove(listener)

        return end

    def list_changed(self, kind: ListKind) -> None:
        """Tell that a list changed."""
        for listener in list(self._list_listeners):
            listener(kind)

    def updated(self, uri: str, tenant: str | None = None) -> None:
        """Tell that a resource's content changed."""
        for listener in list(self._listeners):
            listener(uri, tenant)

    def begin(self, *, watch: bool) -> None:
        """Begin to follow the spellbook, and with `watch` the published files."""
        self._shelf = self._book.shelf
        self._detach = self._book.on_change(self._catalogue_changed)
        if watch:
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        """Follow nothing any more. Closing twice is no error."""
        self._detach()
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)

    async def _watch(self) -> None:
        try:
            await self._files.watch(self._files_changed)
        except Exception:  # a lost watcher must be seen, and must not end the server
            log.exception("watching the published files failed; their changes are not told of")

    def _files_changed(self, uris: Sequence[str], is_list_changed: bool) -> None:
        if is_list_changed:
            self.list_changed("resources")
        for uri in uris:
            self.updated(uri)

    def _catalogue_changed(self, catalogue: Catalogue) -> None:
        before, self._shelf = self._shelf, self._book.shelf
        for uri, castable in self._shelf.sources.items():
            old = before.sources.get(uri)
            if old is not None and old.version != castable.version:
                self.updated(uri)
        for uri in self._skills.changed():
            self.updated(uri)
        for uri, entry in self._shelf.by_uri.items():
            known = before.by_uri.get(uri)
            if known is not None and known.castable.version != entry.castable.version:
                self.updated(uri)
