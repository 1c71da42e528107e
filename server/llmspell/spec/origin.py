"""Where a declaration came from, so that what is wrong with it can be pointed at."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """The file a declaration came from, to point into."""

    file: str
    source: str = ""

    def where(self, line: int, key: str | None = None) -> str:
        """Return `file:line`; the line of `key` when it stands at or after `line`."""
        if key is not None:
            pattern = re.compile(
                rf"(?<![\w.])(?:{re.escape(key)}|\[[\"']{re.escape(key)}[\"']\])\s*="
            )
            for number, text in enumerate(self.source.splitlines(), 1):
                if number >= line and pattern.search(text.split("--")[0]):
                    return f"{self.file}:{number}"
        return f"{self.file}:{line}" if line else self.file

    def where_text(self, line: int, text: str) -> str:
        """Return `file:line` of the first line from `line` on that holds `text`; else of `line`."""
        for number, found in enumerate(self.source.splitlines(), 1):
            if number >= line and text in found:
                return f"{self.file}:{number}"
        return self.where(line)

    def where_name(self, line: int, name: str) -> str:
        """Return `file:line` of the first line from `line` on with a name in quotes."""
        pattern = re.compile(rf"([\"']){re.escape(name)}\1")
        for number, text in enumerate(self.source.splitlines(), 1):
            if number >= line and pattern.search(text):
                return f"{self.file}:{number}"
        return self.where(line)
