"""Write spells/.types, what editors know of the spell API, or check that it is up to date.

    python tools/generate_types.py [--check]

The text is `llmspell.authoring.editor_types`; `llmspell init` writes the same into a project.
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from llmspell.authoring.editor_types import render

TYPES = Path(__file__).parent.parent / "spells" / ".types"


def outdated(directory: Path = TYPES) -> list[str]:
    """Return a diff for each file of `directory` that differs from what the code says."""
    found: list[str] = []
    for name, text in render().items():
        path = directory / name
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        lines = difflib.unified_diff(
            old.splitlines(),
            text.splitlines(),
            str(path),
            f"{path} (as the code says)",
            lineterm="",
        )
        if difference := "\n".join(lines):
            found.append(difference)
    return found


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` print how they differ and return 1 when they do."""
    if arguments == ["--check"]:
        found = outdated()
        if found:
            print(*found, "spells/.types is out of date: run 'make docs'", sep="\n\n")
        return 1 if found else 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    TYPES.mkdir(parents=True, exist_ok=True)
    for name, text in render().items():
        (TYPES / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
