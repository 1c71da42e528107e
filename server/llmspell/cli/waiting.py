"""How a command runs its coroutine, and what Ctrl-C then means."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import typer

INTERRUPTED = 130
"""Exit status of a command that Ctrl-C ended, as shells have it."""

_T = TypeVar("_T")


def perform(work: Coroutine[Any, Any, _T]) -> _T:
    """Run `work` and return its result; Ctrl-C cancels it and ends the command with 130."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
