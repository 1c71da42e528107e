"""What a caller may do: the few words that keys and tokens are limited with.

    cast            cast every spell, and answer and stop the runs of that
    cast:NAME       the same for one spell
    cast:PREFIX*    the same for every spell whose name begins so
    read            look at the project: resources, sources of spells, prompts

Runs are seen by the principal who began them, with any of these. What is published is listed
for everybody who is let in: a list says what there is, not what one may do. A caller without
limits (`Caller.scopes` is None) may do everything; so may the person who owns the process.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from llmspell.errors import AccessForbidden, UsageError
from llmspell.security.principals import Caller

CAST = "cast"
READ = "read"

SCOPES = {
    CAST: "Cast every spell, and answer and stop the runs of that.",
    READ: "Look at resources, prompts and the sources of spells.",
}
"""The scopes without a name in them, and what each allows."""

_FORM = re.compile(r"read|cast(:[A-Za-z][A-Za-z0-9_]{0,47}\*?)?")


def parse_scopes(texts: Iterable[str]) -> frozenset[str]:
    """Return scopes as they were written, blanks or commas between them.

    Raises:
        UsageError: One is none.
    """
    scopes = frozenset(scope for text in texts for scope in re.split(r"[\s,]+", text) if scope)
    for scope in sorted(scopes):
        if _FORM.fullmatch(scope) is None:
            raise UsageError(
                f"no scope {scope!r}", hint="scopes are: cast, cast:NAME, cast:PREFIX*, read"
            )
    return scopes


def covers(scope: str, needed: str) -> bool:
    """Return whether a scope allows what another one names."""
    if scope == needed:
        return True
    if not needed.startswith("cast:"):
        return False
    return scope == CAST or (
        scope.startswith("cast:") and scope.endswith("*") and needed.startswith(scope[:-1])
    )


def may_cast(caller: Caller, spell: str) -> bool:
    """Return whether a caller may cast a spell, and answer and stop its runs.

    Args:
        spell: Its name; "" for what is not of one spell: it needs any right to cast.
    """
    scopes = caller.scopes
    if scopes is None or CAST in scopes:
        return True
    if not spell:
        return any(scope.startswith("cast:") for scope in scopes)
    return any(covers(scope, f"cast:{spell}") for scope in scopes)


def require_cast(caller: Caller, spell: str) -> None:
    """Refuse a caller who may not cast a spell; see `may_cast`.

    Raises:
        AccessForbidden: So it is.
    """
    if caller.scopes is not None and not may_cast(caller, spell):
        raise cast_forbidden(caller, spell)


def cast_forbidden(caller: Caller, spell: str) -> AccessForbidden:
    """Return the error for a caller who may not cast a spell, nor act on its runs."""
    needed = f"{CAST}:{spell}" if spell else CAST
    return _forbidden(caller, f"cast {spell!r}" if spell else "cast", needed)


def require_read(caller: Caller) -> None:
    """Refuse a caller who may not look at the project.

    Raises:
        AccessForbidden: So it is.
    """
    if caller.scopes is not None and READ not in caller.scopes:
        raise _forbidden(caller, "read this", READ)


def require_runs(caller: Caller) -> None:
    """Refuse a caller who may not even see its own runs: one with no scope of ours at all.

    Raises:
        AccessForbidden: So it is.
    """
    if caller.scopes is not None and not any(map(_FORM.fullmatch, caller.scopes)):
        raise _forbidden(caller, "see runs", READ)


def _forbidden(caller: Caller, what: str, needed: str) -> AccessForbidden:
    return AccessForbidden(
        f"{caller.principal} may not {what}: that needs the scope {needed!r}",
        data={"scopes": [needed]},
    )
