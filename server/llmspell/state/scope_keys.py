"""Where in the store the key of a spell lies: family KV, `(tenant, scope, scope id, key)`.

A scope belongs to the caller, the spell or the run as the host knows them, never
as the script names them; so no key a script can write reaches another tenant,
principal, session, spell or run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, assert_never

from llmspell.effects.effect import StateScope
from llmspell.errors import StateError
from llmspell.security.principals import Caller
from llmspell.state.commits import too_large
from llmspell.state.store import Key
from llmspell.values import dumps

MAX_KEY_BYTES: Final = 1024
"""Longest key of a spell, in bytes of UTF-8."""


@dataclass(frozen=True, slots=True)
class Place:
    """Whose state it is: the caller, the spell and the run that touch it."""

    caller: Caller
    spell: str
    run_id: str = ""

    def root(self, scope: StateScope) -> Key:
        """Return what all keys of a scope begin with.

        Raises:
            StateError: It is the scope of a run, and there is none.
        """
        match scope:
            case "spell":
                owner = self.spell
            case "session":
                # A session's name comes from the client, so it counts only together
                # with who that is. JSON, so that no two pairs make one text.
                owner = dumps([self.caller.principal, self.caller.session])
            case "user":
                owner = self.caller.principal
            case "shared":
                owner = ""
            case "run":
                if not self.run_id:
                    raise StateError("the scope 'run' needs a run")
                owner = self.run_id
            case _:
                assert_never(scope)
        return self.caller.tenant, scope, owner

    def path(self, scope: StateScope, key: str) -> Key:
        """Return where a key of a scope lies.

        Raises:
            StateError: The key is empty or not valid Unicode, or there is no such scope here.
            StateTooLarge: It is over `MAX_KEY_BYTES`.
        """
        return *self.root(scope), checked(key)


def checked(key: str) -> str:
    """Return `key`; see `Place.path` for what is none."""
    if not key:
        raise StateError("a state key must not be empty")
    check_size("key", key)
    return key


def bounds(
    root: Key, prefix: str, after: str | None, *, reverse: bool
) -> tuple[Key, Key | None, Key | None]:
    """Return `(prefix, after, before)` of a scan of the store, for one of the keys of a scope.

    Raises:
        StateError: `after` is no key, or the prefix not valid Unicode.
        StateTooLarge: One is over `MAX_KEY_BYTES`.
    """
    check_size("prefix", prefix)
    bound = None if after is None else (*root, checked(after))
    return (*root, prefix), None if reverse else bound, bound if reverse else None


def check_size(what: str, text: str) -> None:
    """Hold a key or a prefix of keys against `MAX_KEY_BYTES`."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise StateError(f"the {what} {text!r} is not valid Unicode") from error
    if size > MAX_KEY_BYTES:
        raise too_large(what, size, MAX_KEY_BYTES)
