"""Tables for people: drawn on a terminal, plain columns where the output goes elsewhere.

What stands in a cell may come from a spell or a stranger, so no control
character of it reaches the terminal.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")

COLOURS = {
    "completed": "green",
    "working": "cyan",
    "input_required": "yellow",
    "auth_required": "yellow",
    "failed": "red",
    "rejected": "red",
    "canceled": "dim",
}
"""How a cell that is a run's state is drawn on a terminal."""


def clean(text: str) -> str:
    """Return a text as one line that a terminal takes as text."""
    return _CONTROL.sub(" ", text)


def moment(at: float) -> str:
    """Return a Unix time as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write rows to stdout under the names of their columns."""
    cells = [[clean(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(columns, cells)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in [[column.upper() for column in columns], *cells]:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(padded).rstrip())


def _draw(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        # An id that is cut short can't be copied.
        table.add_column(column, no_wrap=column == "id", overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    Console().print(table)


def show_fields(fields: Sequence[tuple[str, str]]) -> None:
    """Write names and values to stdout, one a line."""
    width = max(len(name) for name, _ in fields)
    for name, value in fields:
        print(f"{name:<{width}}  {clean(value)}".rstrip())
