"""The ends of a command: arguments that are no text, an output that can't take all texts.

Not what is written there; that is `outputs`.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from collections.abc import Sequence
from typing import Any, cast

from llmspell.errors import UsageError

WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""What writing to stdout fails with when nobody is to blame but the place it leads to."""

_ESCAPE = "llmspell.escape"


def prepare_stdout() -> None:
    """Let stdout write what its encoding lacks as JSON does: as `\\uXXXX`."""
    codecs.register_error(_ESCAPE, _escape)
    stdout: object = sys.stdout  # anything may stand there, None too
    if not isinstance(stdout, io.TextIOWrapper):
        return
    stream = cast("io.TextIOWrapper[Any]", stdout)
    if codecs.lookup(stream.encoding).name != "utf-8":
        stream.reconfigure(errors=_ESCAPE)


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    escaped = "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
    return escaped, error.end


def refuse_unreadable(arguments: Sequence[str]) -> None:
    """Refuse arguments whose bytes are no text here: nothing could be done with them.

    Raises:
        UsageError: Names the argument.
    """
    for argument in arguments:
        if not argument.isascii() and any("\udc80" <= letter <= "\udcff" for letter in argument):
            shown = os.fsencode(argument).decode("utf-8", "backslashreplace")
            raise UsageError(
                f"the argument '{shown}' is not {sys.getfilesystemencoding()}",
                hint="arguments are read in the encoding of the locale; LC_ALL=C.UTF-8 is UTF-8",
            )


def read_stdin() -> str:
    """Return all of stdin.

    Raises:
        UsageError: It is no text.
    """
    try:
        text = sys.stdin.read()
        text.encode("utf-8")  # bytes that are none may have been let through
    except UnicodeError:
        raise UsageError(f"stdin is not {sys.stdin.encoding}", hint="") from None
    return text


def drop_stdout() -> None:
    """Forget what stdout still holds, so that the interpreter does not fail with it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
