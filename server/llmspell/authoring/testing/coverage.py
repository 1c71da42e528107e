"""Which lines of the spells ran while their tests did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from llmspell.authoring.testing.collecting import LIBRARY, SUFFIX
from llmspell.values import Object


@dataclass(slots=True)
class FileCoverage:
    """The lines of one file that hold a statement, and those of them that ran."""

    file: str
    lines: set[int] = field(default_factory=set[int])
    ran: set[int] = field(default_factory=set[int])

    @property
    def percent(self) -> int:
        """The share of its lines that ran, rounded down; 100 when it has none."""
        return 100 * len(self.lines & self.ran) // len(self.lines) if self.lines else 100

    @property
    def missing(self) -> str:
        """The lines that did not run, as people write them: `3-5, 9`."""
        # Lines between two missing ones that hold no statement do not split a stretch.
        stretches: list[list[int]] = []
        was_missing = False
        for line in sorted(self.lines):
            is_missing = line not in self.ran
            if is_missing and was_missing:
                stretches[-1][1] = line
            elif is_missing:
                stretches.append([line, line])
            was_missing = is_missing
        return ", ".join(
            str(first) if first == last else f"{first}-{last}" for first, last in stretches
        )

    def to_value(self) -> Object:
        """Return it as a JSON object."""
        return {
            "file": self.file,
            "lines": len(self.lines),
            "ran": len(self.lines & self.ran),
            "percent": self.percent,
            "missing": sorted(self.lines - self.ran),
        }


class Coverage:
    """What ran of the project's files, those of the tests left out."""

    def __init__(self) -> None:
        self._files: dict[str, FileCoverage] = {}

    def add(self, file: str, lines: Sequence[int], ran: Sequence[int]) -> None:
        """Take note of lines that a file has, and of lines that ran."""
        if file.endswith((SUFFIX, f"{LIBRARY.replace('.', '/')}.lua")):
            return
        found = self._files.setdefault(file, FileCoverage(file))
        found.lines.update(lines)
        found.ran.update(ran)

    @property
    def files(self) -> list[FileCoverage]:
        """Every file that was loaded, by name."""
        return sorted(self._files.values(), key=lambda found: found.file)

    @property
    def total(self) -> FileCoverage:
        """All files as if they were one."""
        whole = FileCoverage("all")
        for number, found in enumerate(self.files):
            # Lines of different files must not fall together.
            whole.lines |= {number << 32 | line for line in found.lines}
            whole.ran |= {number << 32 | line for line in found.ran}
        return whole
