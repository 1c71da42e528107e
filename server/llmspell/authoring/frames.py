"""Places in errors: what our own Lua libraries add to an author's call stack is taken out."""

from __future__ import annotations

from llmspell.errors import LlmspellError


def place(error: LlmspellError, library: str, otherwise: str | None = None) -> None:
    """Let an error point at what the author wrote, and at nothing in a library of ours.

    Args:
        library: The module's name, as it is required.
        otherwise: Where the error is when no line of the author's is on the stack.
    """
    ours = f"{library.replace('.', '/')}.lua:"
    lines = [line for line in (error.traceback or "").splitlines() if ours not in line]
    error.traceback = "\n".join(lines) or None
    if error.where is None or ours in error.where:
        found, colon, _ = lines[0].partition(": ") if lines else ("", "", "")
        error.where = found if colon else otherwise
